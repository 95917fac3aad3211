"""The harness of logpx: suites in, a report out.

In the order data flows:

suite        what to run: a TOML file read into frozen dataclasses, every key checked
model_file   a Python file of the user's that defines a model (`user_file`: or a model by name)
conformance  is a model of one's own what it says it is? The checks of `logpx check`
guests       a model of one's own in a suite, beside ours
networks     variational and other autoencoders of the digits, trained beforehand, from weights/
data         real images (scikit-learn's digits) and simulated data; the models fitted to them
estimators   an estimator's name and options → a proposal of the library
experiments  a kind each: ladder, scaling, ranking, gallery; what a cell of it runs and records
ledger       the bill of a cell: evaluations, set-up, compile, wall and CPU seconds, peak memory
machine      where it ran: CPU, cores, load, versions, commit
cluster      where long cells run: threads, processes, Dask workers here or elsewhere (`dask_worker`)
contradictions  where a log_marginal of a user's contradicts its log joint
runner       suite → cells → what the store lacks → run → store
store        one SQLite file, append-only, keyed by content
summary      store → plain tables
figures      tables → drawings
page         drawings and tables → reports/
plurals      a number and its noun, in whatever is printed
cli          the `logpx` command
"""
