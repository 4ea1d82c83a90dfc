"""Naming the image file that a pipeline fails on."""

import io
import re
from collections.abc import Callable
from typing import Any

import cv2
import mmcv
from mmengine.fileio import get
from PIL import Image

__all__ = ['WholeImages', 'run_pipeline']

START_OF_IMAGE, END_OF_IMAGE = b'\xff\xd8', b'\xff\xd9'
MARKER = re.compile(rb'\xff[^\x00\xd0-\xd7\xff]')  # what else follows FF belongs to the coded data


class WholeImages:
    """Makes mmengine's data sets name an image that is missing, cut off, too large or broken."""

    pipeline: Callable[[dict], Any]
    get_data_info: Callable[[int], dict]
    backend_args: dict | None

    def prepare_data(self, idx: int) -> Any:
        """Send the image of an index through the pipeline."""
        return run_pipeline(self.pipeline, self.get_data_info(idx), self.backend_args)


def run_pipeline(pipeline: Callable[[dict], Any], info: dict, backend_args: dict | None = None) -> Any:
    """Send one image through a pipeline.

    Args:
        pipeline: Takes ``info``.
        info: A data set's dict of one image, with ``img_path``.
        backend_args: Of mmengine's file backend.

    Returns:
        What the pipeline returns.

    Raises:
        FileNotFoundError: If the image does not exist.
        ValueError: If it is cut off (OpenCV would fill it up with gray), has more pixels than pillow takes, or cannot
            be decoded.
    """
    path = info['img_path']
    try:
        content = get(path, backend_args=backend_args)
    except FileNotFoundError:
        raise FileNotFoundError(f'the image {path!r} does not exist') from None
    if _is_cut_off(content):
        raise ValueError(f'the image {path!r} is cut off: it has no end. Copy or download it again')
    _check_pixels(content, path)
    try:
        return pipeline(info)
    except Exception as error:
        # The pipeline does not say whether the image or a transform is at fault.
        if not _is_image(content):
            raise ValueError(f'the image {path!r} cannot be decoded. Copy or download it again') from error
        raise


def _is_cut_off(content: bytes) -> bool:
    """Whether a JPEG ends before its end-of-image marker; OpenCV decodes it all the same and fills up with gray."""
    if not content.startswith(START_OF_IMAGE):
        return False
    position = len(START_OF_IMAGE)
    while marker := MARKER.search(content, position):
        if marker[0] == END_OF_IMAGE:
            return False  # cameras put films and more behind it
        length = content[marker.end() : marker.end() + 2]  # of the segment, whose content may be a preview's JPEG
        position = marker.end() + int.from_bytes(length, 'big')
    return True


def _check_pixels(content: bytes, path: str) -> None:
    """Refuse what pillow takes for a decompression bomb; OpenCV would turn a file of kilobytes into gigabytes."""
    try:
        Image.open(io.BytesIO(content)).close()
    except Image.DecompressionBombError as error:
        raise ValueError(
            f'the image {path!r} is too large: {error} Cut it into smaller ones, or raise PIL.Image.MAX_IMAGE_PIXELS'
        ) from None
    except Exception:  # of a format that pillow does not know, or broken, which the pipeline tells
        return


def _is_image(content: bytes) -> bool:
    try:
        return mmcv.imfrombytes(content) is not None
    except cv2.error:
        return False
