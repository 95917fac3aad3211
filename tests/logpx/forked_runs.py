"""Runs of logpx.estimate in processes of their own, to be killed: a program that tests talk to.

It imports and compiles once, then forks a child for every request, a line of JSON on its input; a run then begins
within milliseconds. On its output are the child's number and, when that has ended, how. The child writes one byte to
the file `events` before and one after every commit, and what came out of it to the file `result`.
"""

import hashlib
import importlib.util
import json
import os
import resource
import sys
import traceback

import logpx
from logpx import checkpoint, engine

LIMITS = resource.getrlimit(resource.RLIMIT_FSIZE)
PPCA, X = logpx.models.PPCA.example()


def answer(estimate):
    """What two runs must have in common to be the same."""
    ladder = hashlib.sha256(estimate.ladder.to_bytes()).hexdigest()
    numbers = [repr(value) for value in (estimate.log_marginal, estimate.std_error, estimate.pareto_k)]
    groups = [repr(tuple(estimate.bound(size))) for size in estimate._groups]
    return {"n": estimate.n_samples, "ladder": ladder, "numbers": numbers, "groups": groups}


def announced(add, events):
    def call(self, *finished):
        os.write(events, b".")
        new = add(self, *finished)
        os.write(events, b"|")
        return new

    return call


def subject(request):
    if "file" not in request:
        return PPCA, X[: request["rows"]] if "rows" in request else X[0]
    sys.path.insert(0, os.path.dirname(request["file"]))
    spec = importlib.util.spec_from_file_location("a_users_file", request["file"])
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module.model, module.x


def run(request):
    for name, value in request.get("engine", {}).items():
        setattr(engine, name, value)
    if "events" in request:
        events = os.open(request["events"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        checkpoint.Checkpoint.add = announced(checkpoint.Checkpoint.add, events)
    if "largest_file" in request:
        resource.setrlimit(resource.RLIMIT_FSIZE, (request["largest_file"], LIMITS[1]))
    model, x = subject(request)
    try:
        return answer(logpx.estimate(model, x, **request["options"]))
    except (logpx.LogpxError, KeyboardInterrupt) as error:
        so_far = getattr(error, "estimate", None)
        return {"error": type(error).__name__, "says": str(error), "so_far": so_far and answer(so_far)}


def child(request):
    code = 1
    try:
        result = run(request)
        resource.setrlimit(resource.RLIMIT_FSIZE, LIMITS)
        if "result" in request:
            with open(request["result"] + "-new", "w") as file:
                json.dump(result, file)
            os.replace(request["result"] + "-new", request["result"])
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)


def main():
    logpx.estimate(PPCA, X[0], n_samples=5000, groups=(50,))
    print("ready", flush=True)
    for line in sys.stdin:
        pid = os.fork()
        if pid == 0:
            child(json.loads(line))
        print(pid, flush=True)
        print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)


if __name__ == "__main__":
    main()
