"""Using an exported student by the commands and the code of docs/using-the-student.md."""

import shutil
import warnings
from pathlib import Path

import cv2
import numpy as np
import pytest
from command_line import ROOT, run_tool, tool_commands
from readme import code_block

__all__ = ['use_student']

PAGE = (ROOT / 'docs' / 'using-the-student.md').read_text()
TEST, PREDICT = tool_commands(code_block(PAGE, 'bash', 'predict.py'))


def use_student(home: Path, images: list[Path], inferencer: str, dump: Path) -> dict:
    """Test ``student.pth``, paint on images and run the page's code.

    Args:
        home: The folder with the student.
        images: The first is the page's image, the others are its photos.
        inferencer: The name of the one that the code uses.
        dump: Where the test leaves its predictions.

    Returns:
        What the code leaves in its variables.
    """
    image = home / f'image{images[0].suffix}'
    shutil.copy(images[0], image)
    (home / 'photos').mkdir()
    for photo in images[1:]:
        shutil.copy(photo, home / 'photos')
    said = run_tool(*TEST, '--out', dump, cwd=home)
    assert 'do not match exactly' not in said
    assert (home / 'work_dirs' / 'student').is_dir()

    run_tool(*(part.replace('image.jpg', image.name) for part in PREDICT), cwd=home)
    painted = {image: home / 'painted' / image.name}
    painted |= {home / 'photos' / photo.name: home / 'painted' / 'photos' / photo.name for photo in images[1:]}
    assert {path for path in (home / 'painted').rglob('*') if path.is_file()} == set(painted.values())
    assert not any(np.array_equal(cv2.imread(str(one)), cv2.imread(str(two))) for one, two in painted.items())

    variables = {}
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        patch.chdir(home)
        warnings.simplefilter('ignore', UserWarning)  # upstream's inferencers say that a visualizer has no save_dir
        exec(code_block(PAGE, 'python', inferencer).replace('image.jpg', image.name), variables)
    return variables
