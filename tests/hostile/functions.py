# ruff: noqa: E501
"""Reward functions that users may write on a bad day: what each does, and whether it may score."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

HANGS_S = 3.0
"""The time limit of a case that hangs."""


@dataclass(frozen=True, slots=True)
class Case:
    """One file FILE.py and its function f."""

    name: str
    source: str
    works: bool = False
    """Whether its scores can be used: else it is refused in one line."""
    hangs: bool = False
    spec: str = "own.py:f"


VALUES = {
    **{f"huge_{v}": v for v in ("1e39", "-1e39", "1e308", "10**400", "-10**400", "10**5000")},
    **{f"not_{v}": f"float('{v}')" for v in ("nan", "inf", "-inf")},
    **{
        f"other_{i}": v
        for i, v in enumerate(("None", "'1'", "''", "b'1'", "[1.0]", "(1.0,)", "{}"))
    },
    **{f"kind_{i}": v for i, v in enumerate(("1j", "object()", "float", "len", "...", "set()"))},
    "decimal": "__import__('decimal').Decimal('1.5')",
    "fraction": "__import__('fractions').Fraction(10**400)",
    "numpy_nan": "__import__('numpy').float32('nan')",
    "numpy_bool": "__import__('numpy').bool_(True)",
    "numpy_row": "__import__('numpy').ones(2)",
    "numpy_complex": "__import__('numpy').complex64(1)",
    "numpy_date": "__import__('numpy').datetime64('2020-01-01')",
    "tensor_nan": "__import__('torch').tensor(float('nan'))",
    "tensor_row": "__import__('torch').ones(2)",
}
"""Entries no score can be made of."""
GOOD = {
    "true": "True",
    "whole": "3",
    "fraction_small": "__import__('fractions').Fraction(1, 3)",
    "float32": "__import__('numpy').float32(1.5)",
    "float16": "__import__('numpy').float16(1.5)",
    "int8": "__import__('numpy').int8(1)",
    "uint64": "__import__('numpy').uint64(2)",
    "tensor": "__import__('torch').tensor(0.5)",
    "half": "__import__('torch').tensor(0.5, dtype=__import__('torch').bfloat16)",
    "minus_zero": "-0.0",
    "smallest": "5e-324",
    "large": "1e6",
}
RESULTS = {
    **{f"returns_{i}": v for i, v in enumerate(("None", "1.0", "True", "'scores'", "b'12345678'"))},
    **{
        f"gives_{i}": v
        for i, v in enumerate(("{}", "{1.0, 2.0}", "object()", "f", "NotImplemented"))
    },
    "short": "[1.0]",
    "long": "[1.0] * (len(completions) + 1)",
    "empty": "[]",
    "nested": "[[1.0]] * len(completions)",
    "named": "dict.fromkeys(range(len(completions)), 1.0)",
    "generator": "(1.0 for _ in completions)",
    "iterator": "iter([1.0] * len(completions))",
    "zipped": "zip(completions)",
    "exception": "ValueError('no')",
    "matrix": "__import__('numpy').ones((len(completions), 1))",
    "scalar": "__import__('numpy').float64(1)",
    "objects": "__import__('numpy').array([None] * len(completions))",
    "texts": "__import__('numpy').array(['1'] * len(completions))",
    "tensor_matrix": "__import__('torch').ones(len(completions), 1)",
    "tensor_scalar": "__import__('torch').tensor(1.0)",
    "tensor_complex": "__import__('torch').ones(len(completions), dtype=__import__('torch').complex64)",
    "tensor_sparse": "__import__('torch').ones(len(completions)).to_sparse()",
    "tensor_meta": "__import__('torch').ones(len(completions), device='meta')",
}
BODIES = {
    **{
        f"raises_{name}": f"raise {name}"
        for name in (
            *("ValueError('a\\nb')", "KeyError('x')", "AssertionError", "MemoryError"),
            *("StopIteration", "StopAsyncIteration", "GeneratorExit", "KeyboardInterrupt"),
            *("SystemExit", "SystemExit(0)", "SystemExit('bye')", "BaseException('x')"),
            *("ArithmeticError", "RecursionError", "TimeoutError", "OSError(28, 'full')"),
            *("EOFError", "BrokenPipeError", "ConnectionResetError", "UnicodeError('x')"),
            *("ExceptionGroup('g', [ValueError('x')])", "BaseExceptionGroup('g', [SystemExit(1)])"),
            *(
                "__import__('asyncio').CancelledError()",
                "__import__('concurrent.futures').futures.CancelledError()",
            ),
        )
    },
    "exits": "import sys; sys.exit(3)",
    "quits": "quit()",
    "exits_at_once": "import os; os._exit(0)",
    "exits_at_once_1": "import os; os._exit(1)",
    "aborts": "import os; os.abort()",
    "kills": "import os, signal; os.kill(os.getpid(), signal.SIGKILL)",
    "terminates": "import os, signal; os.kill(os.getpid(), signal.SIGTERM)",
    "segfaults": "import ctypes; ctypes.string_at(0)",
    "replaces": "import os; os.execv('/bin/true', ['true'])",
    "recursion": "return f(completions)",
    "no_such_name": "return scores",
    "no_such_module": "import nowhere_at_all",
    "divides": "return [1 / 0 for _ in completions]",
    "index": "return [completions[99]]",
    "no_key": "return [c['text'] for c in completions]",
    "closes_files": "import os; os.closerange(3, 200)\n    return [1.0] * len(completions)",
    "odd_message": "class E(Exception):\n        def __str__(self): raise ValueError\n    raise E",
    "unwritable": "class E:\n        def __repr__(self): raise ValueError\n    return [E()] * len(completions)",
    "bad_length": "class L(list):\n        def __len__(self): return -1\n    return L()",
    "bad_items": "class L(list):\n        def __iter__(self): raise ValueError\n    return L([1.0] * len(completions))",
    "bad_float": "class F(float):\n        def __float__(self): raise ValueError\n    return [F(1)] * len(completions)",
    "odd_float": "class F(float):\n        def __float__(self): return None\n    return [F(1)] * len(completions)",
    "awaits_wrong": "class A:\n        def __await__(self): return iter([1])\n    return A()",
    "future": "import asyncio; return asyncio.sleep",
}
HANGS = {
    "deep_recursion": "import sys; sys.setrecursionlimit(10**9)\n    return f(completions)",
    "forever": "while True: pass",
    "stubborn": "while True:\n        try:\n            while True: pass\n        except BaseException: pass",
    "sleeps": "import time; time.sleep(10**6)",
    "in_c": "import itertools; return sum(itertools.repeat(0))",
    "expression": "import re; return [float(bool(re.match('(a+)+b', 'a' * 64)))] * len(completions)",
    "locks": "import threading; lock = threading.Lock(); lock.acquire(); lock.acquire()",
    "reads": "import os; r, w = os.pipe(); os.read(r, 1)",
    "joins": "import threading, time; t = threading.Thread(target=time.sleep, args=(10**6,)); t.start(); t.join()",
    "huge_power": "return [len(str(10 ** 10 ** 9))]",
    "process": "import subprocess; subprocess.run(['sleep', '100'])",
    "signals": "import signal; signal.pthread_sigmask(signal.SIG_BLOCK, range(1, 65)); signal.pause()",
}
HARMLESS = {
    "prints": "print('hello', flush=True)",
    "prints_odd": "import sys; sys.stdout.write('\\u2212\\n')",
    "writes_much": "print('x' * 10**6)",
    "clears": "completions.clear(); prompts.clear()",
    "edits": "prompts[0] = None; kwargs.clear()",
    "wanders": "import os; os.chdir('/')",
    "seeds": "import random, torch; random.seed(0); torch.manual_seed(0)",
    "environment": "import os; os.environ.clear()",
    "silences": "import sys; sys.stdout.close(); sys.stderr.close()",
    "no_streams": "import sys; sys.stdout = sys.stderr = None",
    "closes_streams": "import os; os.close(1); os.close(2)",
    "arguments": "import sys; sys.argv.clear()",
    "path": "import sys; sys.path.clear()",
    "modules": "import sys; sys.modules.pop('rlhf.rewards.result', None)",
    "recursion_limit": "import sys; sys.setrecursionlimit(60)",
    "alarm": "import signal; signal.alarm(10**4)",
    "thread": "import threading, time; threading.Thread(target=time.sleep, args=(10**4,)).start()",
    "child": "import subprocess; subprocess.run(['true'])",
    "pool": "import multiprocessing as m; m.get_context('fork').Pool(1).map(len, ['a'])",
    "warns": "import warnings; warnings.warn('careful')",
    "logs": "import logging; logging.critical('careful')",
    "excepthook": "import sys; sys.excepthook = None",
    "default_dtype": "import torch; torch.set_default_dtype(torch.float64)",
    "exit_later": "import atexit, os; atexit.register(os._exit, 9)",
    "grads": "import torch; torch.set_grad_enabled(False)",
    "gc": "import gc; gc.disable()",
}
"""Done before good scores are returned."""
FILES = {
    "empty": "",
    "syntax": "def f(completions:\n    return",
    "indent": "def f(completions):\nreturn [1.0]",
    "nul": "def f(completions): return [1.0]\n\x00",
    "exits_on_import": "import sys\nsys.exit(0)",
    "leaves_on_import": "import os\nos._exit(0)",
    "raises_on_import": "raise BaseException('no')",
    "interrupts_on_import": "raise KeyboardInterrupt",
    "missing_import": "import nowhere_at_all\ndef f(completions): return []",
    "missing_name": "f = g",
    "number": "f = 3",
    "none": "f = None",
    "other_name": "def g(completions): return [1.0] * len(completions)",
    "no_arguments": "def f(): return [1.0]",
    "needs_more": "def f(completions, nowhere): return [1.0] * len(completions)",
    "positional": "def f(a, b, /): return [1.0] * len(a)",
    "keyword": "def f(*, nowhere): return [1.0]",
    "class_needs": "class f:\n    def __init__(self, nowhere): pass",
    "class": "class f:\n    def __init__(self, completions): pass",
    "builtin": "f = max",
    "partial": "from functools import partial\nf = partial(print, nowhere=1)",
    "odd_signature": "class C:\n    __signature__ = 3\n    def __call__(self, completions): return []\nf = C()",
    "bad_encoding": "# coding: nowhere\ndef f(completions): return []",
    "generator": "def f(completions):\n    yield 1.0",
    "async_generator": "async def f(completions):\n    yield 1.0",
    "async_raises": "async def f(completions):\n    raise ValueError('no')",
    "async_exits": "async def f(completions):\n    raise SystemExit(3)",
    "async_nested": "async def f(completions):\n    async def g(): return [1.0]\n    return g()",
    "lambda_wrong": "f = lambda completions: 1",
    "property": "f = property(lambda self: 1)",
    "module": "import os as f",
    "descriptor": "class f:\n    @staticmethod\n    def __call__(completions): return [1.0]",
    "deletes_itself": "import os\nos.remove(__file__)\ndef f(completions): return [None]",
}
WORKING_FILES = {
    "lambda": "f = lambda completions, **kwargs: [1.0] * len(completions)",
    "star": "def f(*args, **kwargs): return [1.0] * len(kwargs['completions'])",
    "async": "async def f(completions): return [1.0] * len(completions)",
    "callable": "class C:\n    def __call__(self, completions): return [1.0] * len(completions)\nf = C()",
    "partial": "from functools import partial\ndef g(x, completions): return [x] * len(completions)\nf = partial(g, 1.0)",
    "defaults": "def f(completions, nowhere=None): return [1.0] * len(completions)",
    "prints_on_import": "print('loading')\ndef f(completions): return [1.0] * len(completions)",
    "bom": "\ufeffdef f(completions): return [1.0] * len(completions)",
    "cached": "from functools import cache\n@cache\ndef n(): return 1.0\ndef f(completions): return [n()] * len(completions)",
    "sleeps_a_little": "import time\ndef f(completions):\n    time.sleep(0.2)\n    return [1.0] * len(completions)",
    "module_main": "if __name__ == '__main__':\n    raise SystemExit\ndef f(completions): return [1.0] * len(completions)",
    "dataclass": "from dataclasses import dataclass\n@dataclass\nclass D:\n    x: float = 1.0\ndef f(completions): return [D().x] * len(completions)",
}
SPECS = (
    "own.py",
    "own.py:",
    ":f",
    "own.py:f:g",
    "nowhere.py:f",
    "own:f",
    "own.py:f g",
    "own.py:__name__",
)
GOOD_END = "return [float(i) for i in range(8)]"


def cases() -> Iterator[Case]:
    """Yield every case."""
    yield from _entries()
    yield from _bodies()
    for name, source in FILES.items():
        yield Case(f"file_{name}", source)
    for name, source in WORKING_FILES.items():
        yield Case(f"working_{name}", source, works=True)
    for spec in SPECS:
        yield Case(f"spec_{spec}", WORKING_FILES["lambda"], spec=spec)


def _entries() -> Iterator[Case]:
    """One entry of the scores, or the whole of what is returned."""
    for values, works in ((VALUES, False), (GOOD, True)):
        for name, value in values.items():
            scores = f"[1.0] * (len(completions) - 1) + [{value}]"
            yield Case(f"value_{name}", f"def f(completions, **kwargs): return {scores}", works)
    for name, result in RESULTS.items():
        yield Case(f"result_{name}", f"def f(completions, **kwargs): return {result}")


def _bodies() -> Iterator[Case]:
    for name, body in BODIES.items():
        yield Case(f"body_{name}", f"def f(completions, **kwargs):\n    {body}")
    for name, body in HANGS.items():
        yield Case(f"hang_{name}", f"def f(completions, **kwargs):\n    {body}", hangs=True)
    forever = "async def f(completions):\n    await __import__('asyncio').sleep(10**6)"
    yield Case("hang_async", forever, hangs=True)
    yield Case("hang_import", "while True: pass", hangs=True)
    for name, body in HARMLESS.items():
        source = f"def f(prompts, completions, **kwargs):\n    {body}\n    {GOOD_END}"
        yield Case(f"harmless_{name}", source, works=True)
