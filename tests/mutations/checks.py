"""Mutations of the checks before a run, of how runs share a cluster, and of the Python door."""

from __future__ import annotations

from tests.mutations.mutation import Mutation

CONTEXT, ADAPTERS = "rlhf/checks/context.py", "rlhf/checks/adapters.py"
JUDGE = ("tests/unit/checks/test_context.py",)
TRIED = ("tests/unit/checks/test_adapters.py",)
PACKING = ("tests/unit/runtime/test_bin_packing.py",)
SHARED = (
    "tests/integration/test_sweep.py::test_trials_share_a_ray_cluster_and_give_their_seats_back",
)
API = ("tests/unit/test_api.py",)
PROOF = ("tests/unit/models/test_proof.py",)

MUTATIONS = (
    Mutation(
        "judge-of-the-preflight-with-the-default-limit",
        "a judge's time limit is read and not used",
        CONTEXT,
        "self.experiment.reward.timeout_s)",
        "30.0)",
        JUDGE,
    ),
    Mutation(
        "share-of-the-free-cores-alone",
        "a trial plans on all GPUs of a node that others share",
        "rlhf/runtime/bin_packing.py",
        "cpus, gpus = self.cpus / num_runs, self.gpus / num_runs",
        "cpus, gpus = self.cpus / num_runs, self.gpus",
        PACKING,
    ),
    Mutation(
        "trial-takes-the-whole-cluster",
        "the first trial takes every core, and the second waits for it",
        "rlhf/runtime/runtime.py",
        "num_runs=self._experiment.sweep.parallel",
        "num_runs=1",
        SHARED,
    ),
    Mutation(
        "cluster-of-a-sweep-as-large-as-for-one",
        "every trial finds a part of the machine's cores",
        "rlhf/sweeps/sweep.py",
        "SharedCluster(parallel, ",
        "SharedCluster(1, ",
        SHARED,
    ),
    Mutation(
        "adapters-tried-before-they-change-anything",
        "the trial of adapters merges zeros, which any folder survives",
        ADAPTERS,
        "        adapter.draw()\n",
        "",
        TRIED,
    ),
    Mutation(
        "adapters-of-the-value-model-not-tried",
        "the scalar model's adapters are seen when PPO is over",
        ADAPTERS,
        '"value": (value, True)}',
        '"value": (value, False)}',
        TRIED,
    ),
    Mutation(
        "proof-that-lets-rounding-explain-anything",
        "a folder that lost a weight passes where rounding is large",
        "rlhf/models/proof.py",
        "ROUNDING, SHARE = 4.0, 0.02",
        "ROUNDING, SHARE = 1e6, 1.0",
        PROOF,
    ),
    Mutation(
        "steps-that-run-ahead-of-their-reader",
        "a loop that is left at a step has trained on",
        "rlhf/api.py",
        "        self.go_on.acquire()\n",
        "",
        API,
    ),
    Mutation(
        "notebook-in-the-manifest",
        "a run from Python names the notebook's server as its command",
        "rlhf/api.py",
        '[f"rlhf {config.command}", *config.overrides]',
        "list(sys.argv)",
        API,
    ),
    Mutation(
        "overrides-of-the-run-before",
        "a configuration of Python's keeps what evaluate took from a run",
        "rlhf/cli/settings.py",
        'if command == "evaluate" else',
        'if command != "" else',
        ("tests/unit/cli/test_settings.py",),
    ),
    Mutation(
        "epsilons-of-any-size",
        "norms leave next to nothing of what they are given, untold",
        "rlhf/models/folder.py",
        "MOST_EPSILON = 0.1",
        "MOST_EPSILON = 1e12",
        ("tests/unit/models/test_folder.py",),
    ),
)
