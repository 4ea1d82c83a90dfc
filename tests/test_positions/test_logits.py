from toy import ToyClassifier

from ovkd_mm.positions import Logits, trace


def test_logits_are_read_as_the_classifier_puts_them_out():
    found = Logits('fc').resolve(trace(ToyClassifier(), (16, 16)))
    assert (found.path, found.side, found.shape, found.size) == ('fc', 'output', (3,), ())
