from command_line import run_tool
from voc_folder import write_voc


def test_bad_data_ends_in_one_line_that_names_it(tmp_path):
    write_voc(tmp_path / 'VOC2012', {'a': [('cat', 1, 1, 9, 9)]}, split='train')
    output = run_tool('demo', '--data', tmp_path / 'VOC2012', '--work-dir', tmp_path / 'work', fails=True)
    assert 'Traceback' not in output
    assert output.strip().splitlines()[-1].startswith(f'error: {tmp_path / "VOC2012/ImageSets/Main"} needs train.txt')
    assert not (tmp_path / 'work').exists()
