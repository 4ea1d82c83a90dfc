"""Files that are small and want to be big: each must be refused, and the process must live."""

import codecs
import collections
import io
import pickle
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import torch

from ovkd_mm.checkpoints import restricted_pickle
from ovkd_mm.checkpoints.loading import load_checkpoint_file

HEAD = b'\x80\x02'
LONG = b'\x8a\x06' + (10**13).to_bytes(6, 'little')
HASHED = b'}' + b'))\x86' + 60 * (b'q\x00h\x00\x86') + b'K\x01s.'  # a key of 2**60 tuples
DEEP = b'})' + 10**6 * b'\x85' + b'K\x01s.'
PICKLES = dict(
    zeros=b'cbuiltins\nbytearray\n' + LONG + b'\x85R.',
    longer_and_longer=b'c_codecs\nencode\nX\x01\x00\x00\x00aX\x03\x00\x00\x00hex\x86R.',
    key_without_end=HASHED,
    deep_key=DEEP,
    set_of_a_tensor=b'cbuiltins\nset\nctorch\nTensor\n' + LONG + b'\x85R\x85R.',
    tensor=b'ctorch\nFloatTensor\n' + LONG + b'\x85R.',
    storage=b'(X\x07\x00\x00\x00storagectorch\nFloatStorage\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpu' + LONG + b'tQ.',
    list_that_is_a_bytearray=b'cbuiltins\nbytearray\n)R(K\x01K\x02e.',
    object_of_a_class=b'(ctorch\nTensor\n' + LONG + b'o.',
    unknown_instance=b'(ios\nsystem\n.',
    extension=b'\x82\x01.',
    text_without_end=b'X\xff\xff\xff\xffa.',
    bytes_without_end=b'\x8e' + (2**62).to_bytes(8, 'little') + b'a.',
    array_without_end=b'\x96' + (2**40).to_bytes(8, 'little') + b'a.',
    memo=b'h\x07.',
    nothing=b'.',
)


def unpickled(data, **kwargs):
    return restricted_pickle.limited_to(len(data)).load(io.BytesIO(data), **kwargs)


def write(path: Path, content: bytes, **changes) -> Path:
    """A checkpoint whose pickle is the given one, in torch's zip."""
    torch.save(dict(a=torch.ones(3)), path)
    with zipfile.ZipFile(path) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, 'w', changes.get('compression', zipfile.ZIP_STORED)) as archive:
        for name, data in files.items():
            archive.writestr(name, content if name.endswith('/data.pkl') and content else data)
    return path


def write_legacy(path: Path, content: bytes) -> Path:
    torch.save(dict(), path, _use_new_zipfile_serialization=False)
    with path.open('rb') as file:
        for _ in range(3):
            pickle.load(file)
        head = path.read_bytes()[: file.tell()]
    path.write_bytes(head + content + pickle.dumps([], 2))
    return path


def test_no_pickle_takes_the_process_down(tmp_path):
    for name, content in PICKLES.items():
        write(tmp_path / f'{name}.pth', HEAD + content)
        write_legacy(tmp_path / f'{name}.legacy.pth', HEAD + content)
    code = f"""
import pathlib, resource
import ovkd_mm, mmengine.runner
from ovkd_mm.checkpoints.loading import load_checkpoint_file
used = int(pathlib.Path('/proc/self/statm').read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + 2**30,) * 2)
for path in sorted(pathlib.Path({str(tmp_path)!r}).glob('*.pth')):
    try:
        load_checkpoint_file(path)
    except ValueError as error:
        assert path.name in str(error), error
        print('refused', path.name, flush=True)
"""
    run = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, timeout=100, check=False)
    assert run.returncode == 0, run.stdout + run.stderr
    assert run.stdout.count('refused') == 2 * len(PICKLES), run.stdout


def test_a_compressed_file_is_refused(tmp_path):
    path = write(tmp_path / 'small.pth', b'', compression=zipfile.ZIP_DEFLATED)
    why = 'it is compressed, which torch.save never does, and may be far bigger inside'
    with pytest.raises(ValueError, match=rf'small\.pth.*\(ValueError: {re.escape(why)}\)'):
        load_checkpoint_file(path)


def test_a_tar_archive_is_refused(tmp_path):
    import tarfile

    with tarfile.open(tmp_path / 'old.pth', 'w') as archive:
        archive.add(__file__, 'storages')
    with pytest.raises(
        ValueError, match=r'old\.pth.*\(ValueError: it is a tar archive, as torch wrote them before 2017\)'
    ):
        load_checkpoint_file(tmp_path / 'old.pth')


@pytest.mark.parametrize('count', [4, 100])  # that would fit into the file, but the record has 3
@pytest.mark.parametrize('key', [b'0', b'9'], ids=['its record', 'a record that is not there'])
def test_a_storage_is_no_bigger_than_its_record(key, count, tmp_path):
    storage = b'(X\x07\x00\x00\x00storagectorch\nFloatStorage\nX\x01\x00\x00\x00' + key
    path = write(tmp_path / 'a.pth', HEAD + storage + b'X\x03\x00\x00\x00cpuK' + bytes([count]) + b'tQ.')
    with pytest.raises(ValueError, match=rf'a\.pth.*a storage of {count} numbers, more than the file can hold'):
        load_checkpoint_file(path)


FLOATS = b'ctorch\nFloatStorage\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpu'


@pytest.mark.parametrize('reference', [b'K\x05', b'(C\x07storage' + FLOATS + b't', b'(K\x01' + FLOATS + b'K\x03t'])
def test_what_refers_to_no_storage_is_refused(reference, tmp_path):
    path = write(tmp_path / 'a.pth', HEAD + reference + b'Q.')
    with pytest.raises(ValueError, match=r'a\.pth.*: a reference that is not one to a storage\)'):
        load_checkpoint_file(path)


def test_a_storage_has_no_byte_of_a_record_that_is_not_there(tmp_path):
    storage = b'(X\x07\x00\x00\x00storagectorch\nByteStorage\nX\x01\x00\x00\x009X\x03\x00\x00\x00cpuK\x01tQ.'
    path = write(tmp_path / 'a.pth', HEAD + storage)
    with pytest.raises(ValueError, match=r'a\.pth.*a storage of 1 numbers, more than the file can hold'):
        load_checkpoint_file(path)


def test_in_the_older_format_a_storage_is_no_bigger_than_the_file(tmp_path):
    def load(count: int) -> tuple[int, bool]:
        storage = b'(X\x07\x00\x00\x00storagectorch\nByteStorage\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpuM'
        path = write_legacy(tmp_path / 'a.pth', HEAD + storage + count.to_bytes(2, 'little') + b'NtQ.')
        with pytest.raises(ValueError, match=r'a\.pth') as caught:
            load_checkpoint_file(path)
        return path.stat().st_size, f'a storage of {count} numbers, more than the file can hold' in str(caught.value)

    size, _ = load(0)
    assert load(size) == (size, False)  # but refused as cut short
    assert load(size + 1) == (size, True)


@pytest.mark.parametrize(
    ('written', 'size'), [(b'J\xff\xff\xff\xff', -1), (b'G?\xf0' + bytes(6), 1.0), (b'\x88', True)]
)
def test_a_storage_whose_size_is_none_is_refused(written, size, tmp_path):
    reference = b'(X\x07\x00\x00\x00storage' + FLOATS + written + b't'
    path = write(tmp_path / 'a.pth', HEAD + reference + b'Q.')
    with pytest.raises(ValueError, match=rf'a\.pth.*a storage of size {re.escape(str(size))}\)'):
        load_checkpoint_file(path)


def test_a_storage_without_a_type_comes_back(tmp_path):
    torch.save(dict(a=torch.arange(3, dtype=torch.uint8).untyped_storage()), tmp_path / 'a.pth')
    assert list(load_checkpoint_file(tmp_path / 'a.pth')['a']) == [0, 1, 2]


def test_a_reference_that_python_2_wrote_is_one(tmp_path):
    path = write(tmp_path / 'a.pth', HEAD + b'}X\x01\x00\x00\x00a(C\x07storage' + FLOATS + b'K\x03tQs.')
    assert load_checkpoint_file(path)['a'].tolist() == [1, 1, 1]


class Call:
    def __init__(self, function, *args):
        self.reduced = function, args

    def __reduce__(self):
        return self.reduced


@pytest.mark.parametrize('is_zip', [True, False], ids=['zip', 'legacy'])
@pytest.mark.parametrize(
    ('offset', 'size', 'stride'),
    [
        (1, (3,), (1,)),
        (0, (4,), (1,)),
        (0, (3,), (2,)),
        (-1, (3,), (1,)),
        (0, (3,), (-1,)),
        (0, (2**62, 8), (1, 1)),
        (0, (2**40, 2**40), (0, 0)),
        (0, (-3,), (1,)),
        (0, (3,), (2**62,)),
    ],
)
def test_a_tensor_stays_within_its_storage(offset, size, stride, is_zip, tmp_path):
    storage = torch.ones(3).storage()
    value = Call(torch._utils._rebuild_tensor_v2, storage, offset, size, stride, False, collections.OrderedDict())
    torch.save(dict(a=value), tmp_path / 'a.pth', _use_new_zipfile_serialization=is_zip)
    with pytest.raises(ValueError, match=r'a\.pth'):
        load_checkpoint_file(tmp_path / 'a.pth')


TENSOR = (torch._utils._rebuild_tensor_v2, torch.Tensor, (torch.ones(2).storage(), 0, (2,), (1,), False, None))
FROM_TYPE = torch._tensor._rebuild_from_type_v2


@pytest.mark.parametrize(
    ('call', 'name'),
    [
        (Call(bytearray, 3), 'builtins.bytearray'),
        (Call(bytearray, b'a', 'latin1'), 'builtins.bytearray'),
        (Call(set, 'ab'), 'builtins.set'),
        (Call(collections.Counter, 'ab'), 'collections.Counter'),
        (Call(collections.OrderedDict, dict(a=1)), 'collections.OrderedDict'),
        (Call(codecs.encode, 'a', 'hex'), '_codecs.encode'),
        (Call(FROM_TYPE, collections.OrderedDict, *TENSOR[1:], {}), 'torch._tensor._rebuild_from_type_v2'),
        (Call(FROM_TYPE, TENSOR[0], torch.Size, TENSOR[2], {}), 'torch._tensor._rebuild_from_type_v2'),
        (Call(torch.Tensor, 3), 'torch.Tensor'),
    ],
    ids=lambda value: '' if isinstance(value, str) else f'{value.reduced[0].__name__} of {value.reduced[1]!r:.20}',
)
def test_a_known_name_that_is_called_with_what_no_honest_file_gives_it_is_refused_by_name(call, name, tmp_path):
    torch.save(dict(a=call), tmp_path / 'a.pth')
    with pytest.raises(ValueError, match=f"was refused.* it asks for '{re.escape(name)}'"):
        load_checkpoint_file(tmp_path / 'a.pth')


@pytest.mark.parametrize(
    ('content', 'name'),
    [(b'K\x05)R.', 'None.int'), (b'ctorch\nfloat32\n)R.', 'torch.dtype'), (b'ctorch\nTensor\n)\x81.', 'torch.Tensor')],
)
def test_what_is_called_or_made_of_no_listed_name_is_refused_as_what_it_is(content, name, tmp_path):
    write(tmp_path / 'a.pth', HEAD + content)
    with pytest.raises(ValueError, match=f"was refused.* it asks for '{re.escape(name)}'"):
        load_checkpoint_file(tmp_path / 'a.pth')


@pytest.mark.parametrize('kind', [torch.Tensor, torch.nn.Parameter])
def test_a_tensor_keeps_the_attributes_that_somebody_set(kind, tmp_path):
    torch.save(dict(a=Call(FROM_TYPE, TENSOR[0], kind, TENSOR[2], dict(note='kept'))), tmp_path / 'a.pth')
    found = load_checkpoint_file(tmp_path / 'a.pth')['a']
    assert type(found) is kind
    assert (found.tolist(), found.note) == ([1, 1], 'kept')


@pytest.mark.parametrize('count', [10_000, 10_001])
@pytest.mark.parametrize('inner', [(), (3000,), (2000, 4000)], ids=str)
def test_as_many_tuples_are_read_as_can_be_hashed(inner, count):
    parts = [((),) * size for size in inner]
    value = (*parts, *((),) * (count - sum(1 + size for size in inner)))
    data = pickle.dumps(value, 2)
    if count == 10_000:
        assert unpickled(data) == value
    else:
        with pytest.raises(pickle.UnpicklingError, match=r'^more than 10000 tuples within one$'):
            unpickled(data)


@pytest.mark.parametrize(
    'content',
    [b')' + 10_001 * b'\x85', b')' + 14 * b'q\x00h\x00\x86', b')' + 9 * b'q\x00h\x00h\x00\x87'],
    ids=['TUPLE1', 'TUPLE2', 'TUPLE3'],
)
def test_tuples_are_counted_whichever_code_makes_them(content):
    with pytest.raises(pickle.UnpicklingError, match='more than 10000 tuples'):
        unpickled(HEAD + content + b'.')


def test_the_unpickler_of_python_still_knows_all_codes():
    assert pickle._loads(b'(icollections\nCounter\n.') == collections.Counter()


@pytest.mark.parametrize('code', ['INST', 'OBJ', 'EXT1', 'EXT2', 'EXT4', 'PERSID', 'NEWOBJ_EX'])
def test_what_else_can_call_or_fetch_something_is_unknown(code):
    code = getattr(pickle, code)
    with pytest.raises(KeyError, match=f'^{code[0]}$'):
        unpickled(HEAD + code)


BYTES = b'cbuiltins\nbytearray\n]K\x00a\x85R'  # bytearray(b'\0')


@pytest.mark.parametrize(
    ('content', 'name'),
    [
        (BYTES + b'K\x01a', 'builtins.bytearray'),
        (BYTES + b'(K\x01e', 'builtins.bytearray'),
        (BYTES + b'K\x00K\x01s', 'builtins.bytearray'),
        (BYTES + b'(K\x00K\x01u', 'builtins.bytearray'),
        (b']K\x00aK\x00K\x01s', 'builtins.list'),
        (b'](K\x01\x90', 'builtins.list'),
    ],
    ids=lambda value: value[-1:].hex() if isinstance(value, bytes) else value,
)
def test_only_a_list_a_dict_and_a_set_are_filled(content, name):
    with pytest.raises(pickle.UnpicklingError, match=f'^GLOBAL {name}$'):
        unpickled(HEAD + content + b'.')


def test_a_tensor_of_the_first_versions_of_torch_comes_back(tmp_path):
    value = Call(torch._utils._rebuild_tensor, torch.ones(3).storage(), 1, (2,), (1,))
    torch.save(dict(a=value), tmp_path / 'a.pth')
    assert load_checkpoint_file(tmp_path / 'a.pth')['a'].tolist() == [1, 1]


@pytest.mark.filterwarnings('ignore:.*quantize')
@pytest.mark.skipif(not hasattr(torch, 'quantize_per_tensor'), reason='this torch has no quantized tensors')
def test_a_quantized_tensor_comes_back(tmp_path):
    tensor = torch.quantize_per_tensor(torch.ones(3), 0.5, 0, torch.quint8)
    torch.save(dict(a=tensor), tmp_path / 'a.pth')
    assert torch.equal(load_checkpoint_file(tmp_path / 'a.pth')['a'], tensor)


def test_what_torch_asks_of_the_pickle_module_reaches_the_unpickler():
    old = pickle.PROTO + b'\x02' + pickle.SHORT_BINSTRING + b'\x01\xe4' + pickle.STOP  # text of Python 2
    assert unpickled(old, encoding='latin1') == '\xe4'
    with pytest.raises(UnicodeDecodeError):
        unpickled(old)


@pytest.mark.parametrize('protocol', [2, 5])
@pytest.mark.parametrize('is_zip', [True, False], ids=['zip', 'legacy'])
def test_what_honest_checkpoints_hold_comes_back(is_zip, protocol, tmp_path):
    tensor = torch.arange(6.0).reshape(2, 3)
    noted = torch.nn.Parameter(tensor)
    noted.note = 'kept'
    content = dict(
        transposed=tensor.T,
        nothing=tensor[:0],
        empty_storage=torch.empty(0, 3),
        view=tensor[1:, 1:],
        parameter=torch.nn.Parameter(tensor),
        noted=noted,
        sparse=tensor.to_sparse(),
        counter=collections.Counter(a=2),
        ordered=collections.OrderedDict(a=1, b=[(1, 2), (3, (4,))]),
        one_item=collections.OrderedDict(a=1),
        nested={('a', (1, 2)): {1, 2}},
        binary=b'\x00\xff',
        empty=b'',
        array=bytearray(b'ab'),
        complex=1 + 2j,
        size=tensor.shape,
        dtype=torch.float16,
        device=torch.device('cpu'),
        palette=[(i, i, i) for i in range(3000)],
        big=2**70,
    )
    if is_zip:  # torch itself does not read it from the other format
        content['float8'] = tensor.to(torch.float8_e5m2)
    torch.save(content, tmp_path / 'a.pth', pickle_protocol=protocol, _use_new_zipfile_serialization=is_zip)
    found = load_checkpoint_file(tmp_path / 'a.pth')
    assert found.keys() == content.keys()
    for key, value in content.items():
        assert type(found[key]) is type(value), key
        if isinstance(value, torch.Tensor):
            assert found[key].dtype == value.dtype, key
            assert torch.equal(found[key].to_dense().float(), value.to_dense().float()), key
        else:
            assert found[key] == value, key
    assert found['noted'].note == 'kept'
