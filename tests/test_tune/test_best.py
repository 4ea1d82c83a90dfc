from mmengine.config import Config

from ovkd_mm.compare.study import Entry, Study, read_study
from ovkd_mm.tune.best import write_best

PAIRS = Config(dict(pairs=[dict(teacher='layer1', student='layer1', transform=dict(type='ReLU', sizes=(2, 3)))])).pairs


def entry(share: float) -> Entry:
    return Entry(f'ofd, share {share}', 'ofd', {'model.method.loss.loss_weight.share': share, 'model.pairs': PAIRS})


def test_the_first_of_what_was_tried_and_the_student_alone_are_compared_over_seeds(tmp_path):
    config = tmp_path / 'base.py'
    config.write_text('')
    searched = Study(config, (Entry('search'),), (7,), {'train_dataloader.batch_size': 2, 'crop_size': (4, 4)})
    write_best(tmp_path / 'best.yml', [entry(share) for share in (3, 1, 3, 0.5, 8)], searched, 'accuracy')
    study = read_study(tmp_path / 'best.yml')
    assert (study.config, study.seeds, study.metric) == (config, (0, 1, 2), 'accuracy')
    assert study.options == {'train_dataloader.batch_size': 2, 'crop_size': [4, 4]}
    alone, *others = study.entries
    assert (alone.label, alone.method, alone.options) == ('alone', 'none', {})
    pairs = [dict(teacher='layer1', student='layer1', transform=dict(type='ReLU', sizes=[2, 3]))]
    for found, share in zip(others, (3, 1, 0.5), strict=True):
        assert (found.label, found.method) == (f'ofd, share {share}', 'ofd')
        assert found.options == {'model.method.loss.loss_weight.share': share, 'model.pairs': pairs}


def test_what_is_written_says_what_wrote_it(tmp_path):
    write_best(tmp_path / 'best.yml', [], Study(tmp_path / 'base.py', (Entry('search'),)), 'mIoU')
    assert 'tools/tune.py' in (tmp_path / 'best.yml').read_text().splitlines()[0]
