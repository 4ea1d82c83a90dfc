import pytest
import torch
import two_processes


@pytest.fixture(scope='module')
def processes(tmp_path_factory):
    return two_processes.run(two_processes.with_ddp, tmp_path_factory.mktemp('two_processes'))


def test_two_processes_with_half_the_batch_each_have_the_gradients_of_one_with_all(processes):
    whole = two_processes.gradients(two_processes.build_distiller(), slice(None))
    first, second = (result['gradients'] for result in processes)
    assert any('negatives' in name for name in whole)
    for name, value in whole.items():
        torch.testing.assert_close(first[name], value, rtol=1e-5, atol=1e-7, msg=name)
        assert torch.equal(first[name], second[name]), name


def test_students_stay_in_step_without_a_search_for_unused_parameters_though_the_teacher_rests_for_a_while(processes):
    first, second = (result['trained']['weights'] for result in processes)
    assert all(torch.equal(first[name], second[name]) for name in first)
    start = dict(two_processes.build_distiller().named_parameters())
    assert not any(torch.equal(first[name], start[name]) for name in start)


def test_nothing_of_the_teacher_is_broadcast_or_in_a_bucket(processes):
    first, second = (result['trained'] for result in processes)
    assert first['teacher_is_untouched'] and second['teacher_is_untouched']
    assert not torch.equal(first['teacher'], second['teacher'])
    trainable = sum(weight.numel() * weight.element_size() for weight in first['weights'].values())
    assert first['bytes_in_buckets'] == trainable
