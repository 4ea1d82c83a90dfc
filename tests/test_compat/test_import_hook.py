import importlib
import importlib.util
import inspect
import subprocess
import sys
import threading

import pytest

from ovkd_mm.compat.import_hook import when_imported


@pytest.fixture
def write_module(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(tmp_path))
    names = []

    def write(name: str, text: str = 'value = 1\n') -> str:
        (tmp_path / f'{name}.py').write_text(text)
        importlib.invalidate_caches()
        names.append(name)
        return name

    yield write
    for name in names:
        sys.modules.pop(name, None)


def test_the_callback_waits_for_the_import(write_module):
    name, seen = write_module('hook_waits'), []
    when_imported(name, lambda module: seen.append(module.value))
    assert seen == []
    assert name not in sys.modules
    importlib.import_module(name)
    assert seen == [1]


def test_the_callback_runs_at_once_for_a_module_that_is_there(write_module):
    name, seen = write_module('hook_there'), []
    module = importlib.import_module(name)
    when_imported(name, seen.append)
    assert seen == [module]


def test_a_module_is_seen_though_a_finder_that_was_first_knows_it(write_module, tmp_path):
    """As the finders of editable installs are."""
    name = write_module('hook_editable')
    code = f"""
import sys
from importlib.util import spec_from_file_location

class Editable:
    def find_spec(name, path, target=None):
        return spec_from_file_location(name, {str(tmp_path / name)!r} + '.py') if name == {name!r} else None

sys.meta_path.insert(0, Editable)
from ovkd_mm.compat.import_hook import when_imported
when_imported({name!r}, lambda module: print(module.value))
import {name}
"""
    result = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True)
    assert result.stdout == '1\n', result.stderr


def test_the_callback_runs_again_after_a_reload(write_module):
    name = write_module('hook_reload')
    when_imported(name, lambda module: setattr(module, 'value', 2))
    module = importlib.import_module(name)
    assert module.value == 2
    assert importlib.reload(module).value == 2


def test_a_callback_is_registered_once(write_module):
    name, seen = write_module('hook_once'), []
    when_imported(name, seen.append)
    when_imported(name, seen.append)
    importlib.import_module(name)
    assert len(seen) == 1


def test_looking_for_the_module_does_not_import_it(write_module):
    name, seen = write_module('hook_spec'), []
    when_imported(name, seen.append)
    spec = importlib.util.find_spec(name)
    assert spec.origin.endswith('hook_spec.py')
    assert spec.loader.get_source(name) == 'value = 1\n'
    assert seen == []
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert seen == [module]


def test_the_module_ends_up_with_its_own_loader(write_module):
    name = write_module('hook_loader', 'def function():\n    return 1\n')
    when_imported(name, lambda module: None)
    module = importlib.import_module(name)
    assert type(module.__loader__) is type(module.__spec__.loader) is importlib.machinery.SourceFileLoader
    assert 'return 1' in inspect.getsource(module.function)


def test_an_error_in_the_module_comes_through_and_the_next_try_works(write_module):
    name, seen = write_module('hook_error', 'raise ZeroDivisionError("mine")\n'), []
    when_imported(name, seen.append)
    with pytest.raises(ZeroDivisionError, match='mine'):
        importlib.import_module(name)
    assert seen == []
    write_module(name, 'value = 2  # another length, so that no stale bytecode is taken\n')
    assert importlib.import_module(name).value == 2
    assert len(seen) == 1


def test_a_module_that_does_not_exist_is_still_missing():
    when_imported('hook_no_such_module', lambda module: None)
    assert importlib.util.find_spec('hook_no_such_module') is None
    with pytest.raises(ModuleNotFoundError, match='hook_no_such_module'):
        importlib.import_module('hook_no_such_module')


def test_the_finders_behind_are_asked_just_as_python_asks_them(write_module, monkeypatch):
    name, asked = write_module('hook_asked'), []
    when_imported(name, lambda module: None)
    module = importlib.import_module(name)
    (ours,) = (finder for finder in sys.meta_path if type(finder).__module__ == when_imported.__module__)

    class Finder:
        def find_spec(self, *args):
            asked.append(args)

    monkeypatch.setattr(sys, 'meta_path', [ours, object(), Finder()])  # the object is none, which is passed over
    assert ours.find_spec(name, ['folder'], module) is None
    assert asked == [(name, ['folder'], module)]


def test_a_module_that_another_thread_is_importing_is_seen_whole(write_module):
    name = write_module('hook_thread', 'import time\ntime.sleep(0.3)\nvalue = 1\n')
    thread = threading.Thread(target=importlib.import_module, args=(name,))
    thread.start()
    while name not in sys.modules and thread.is_alive():
        pass
    seen = []
    when_imported(name, lambda module: seen.append(module.value))  # AttributeError if it were half done
    thread.join()
    assert seen
    assert set(seen) == {1}
