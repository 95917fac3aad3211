"""What becomes of a function between Numba's compiler and machine code: the libraries that it is written into.

*Wide vectors.* LLVM's model of many processors with AVX-512 keeps loops to 256 bits, as the first of them slowed down
their clock for wider ones. Every function asks for 512 where there is AVX-512: 6 % faster for PPCA with 2 latents, 10 %
with 16, 13 % in float32, 16 % in a log-sum-exp, measured on one such processor.

*Functions inside others* (`leaf` and `inner`, see `_jit`). Numba gives every function an optimised module of its own,
machine code, and two wrappers, one for calls from Python and one for calls from C. One that ends inside its callers
needs the module alone: its code is linked into theirs and becomes machine code there. Its types of arguments count and
their values do not: compiled once for every constant, a function is compiled many times over. Cost: less than half of
what a function takes to compile without this.

What is overridden of Numba's classes is not public; where a release of Numba lacks one of these names, its own compiler
serves, and compiling takes longer.
"""

import functools

import llvmlite.binding
import numba
from numba import types
from numba.core import codegen, compiler

_OVERRIDDEN = (
    *("add_ir_module", "enable_object_caching", "get_pointer_to_function"),
    *("_finalize_final_module", "_finalize_dynamic_globals", "_verify_declare_only_symbols"),
)
_WIDE = '"prefer-vector-width"="512"'


def machine():
    """The CPU that code is compiled for, and its features as LLVM writes them: "+avx2,+fma,…"."""
    cpu = numba.config.CPU_NAME or llvmlite.binding.get_host_cpu_name()
    features = numba.config.CPU_FEATURES
    return cpu, llvmlite.binding.get_host_cpu_features().flatten() if features is None else features


@functools.cache
def has_wide_vectors() -> bool:
    """Whether vectors of 512 bits are among them."""
    return "+avx512f" in machine()[1].split(",")


class Library(codegen.JITCodeLibrary):  # type: ignore[misc]  # Numba has no types
    """A function's machine code, with the widest vectors that there are."""

    def add_ir_module(self, ir_module):
        if has_wide_vectors():
            for function in ir_module.functions:
                set.add(function.attributes, _WIDE)  # its own `add` knows attributes that have no value alone
        super().add_ir_module(ir_module)

    def get_pointer_to_function(self, name):
        """Where a function's code begins; it stays there, and is asked for often."""
        known = self.__dict__.setdefault("pointers", {})
        if name not in known:
            known[name] = super().get_pointer_to_function(name)
        return known[name]


class _NoPython:
    """In place of the code generator, which would be told of an environment for calls from Python."""

    @staticmethod
    def set_env(env_name, env):
        pass


class Linked(Library):
    """A function's code, for its callers' libraries to take in; there is no machine code of its own."""

    codegen = _NoPython

    def _finalize_final_module(self):
        self._finalize_dynamic_globals()
        self._verify_declare_only_symbols()
        self._finalized = True

    def get_pointer_to_function(self, name):
        return 0


class _Compiler(compiler.Compiler):  # type: ignore[misc]  # Numba has no types
    """Numba's, which writes into a `Library`."""

    made = Library

    def __init__(self, typingctx, targetctx, library, *rest):
        library = self.made(targetctx.codegen(), "logpx")
        library.enable_object_caching()
        super().__init__(typingctx, targetctx, library, *rest)


class _LinkedCompiler(_Compiler):
    made = Linked


_HERE = all(hasattr(codegen.JITCodeLibrary, name) for name in _OVERRIDDEN)
#: Numba's `pipeline_class` of functions that are called from outside, and of those inside others.
OUTSIDE = _Compiler if _HERE else compiler.Compiler
INSIDE = _LinkedCompiler if _HERE else compiler.Compiler


class Inside:
    """A function compiled for compiled callers.

    They take it for the dispatcher that it holds, which must not be called from Python: there is nothing to call. A
    call from Python goes to a second one, made then. It sees types of arguments and no constants: a tuple of several
    types cannot be indexed by an argument.
    """

    def __init__(self, function, **options):
        functools.update_wrapper(self, function)
        self.py_func, self.options = function, options
        self.dispatcher = numba.njit(no_cfunc_wrapper=True, no_cpython_wrapper=True, pipeline_class=INSIDE, **options)(
            function
        )
        self._resolve = self.dispatcher.get_call_template
        self.dispatcher.get_call_template = self._call_template

    def _call_template(self, arguments, keywords):
        """Numba compiles a function once for every constant it is called with; once for its type is enough."""
        plain = {name: types.unliteral(one) for name, one in keywords.items()}
        return self._resolve([types.unliteral(one) for one in arguments], plain)

    @property
    def _numba_type_(self):
        return numba.typeof(self.dispatcher)

    @functools.cached_property
    def _from_python(self):
        return numba.njit(pipeline_class=OUTSIDE, **self.options)(self.py_func)

    def __call__(self, *arguments):
        return self._from_python(*arguments)


def remember_results(dispatcher):
    """Have a dispatcher look up each signature once: Numba does so in every call for every function that is passed by
    pointer, and that was more than half of the fixed cost of a task. A signature is known by its identity, and kept."""
    look_up, found = getattr(dispatcher, "get_compile_result", None), {}
    if look_up is None:  # plain Python, or a Numba that has another way
        return

    def get_compile_result(signature):
        if id(signature) not in found:
            found[id(signature)] = signature, look_up(signature)
        return found[id(signature)][1]

    dispatcher.get_compile_result = get_compile_result
