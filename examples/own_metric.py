"""A metric of your own as a fourth objective: the memory that activations take."""

from small import QUICK, SPACE, TRAINING, digits, trained

import autocompress as ac


@ac.metric(direction="minimize", unit="kB", title="activations", pick="lean")
def activations_kb(candidate: ac.Candidate) -> float:
    """Return the kilobytes of all outputs of layers in one call.

    A metric of the deployed model would run or time ``candidate.session``.
    """
    total = 0

    def add(module, inputs, output):
        nonlocal total
        total += output.numel() * output.element_size()

    layers = [module for module in candidate.model.modules() if not list(module.children())]
    handles = [layer.register_forward_hook(add) for layer in layers]
    try:
        candidate.model(candidate.example)
    finally:
        for handle in handles:
            handle.remove()
    return total / 1000


def main(directory: str = "runs", trials: int = 6) -> ac.Run:
    """Search with four objectives; the fourth has a limit and a pick."""
    return ac.search(
        trained(),
        digits(),
        objectives=["accuracy", "latency_ms", "parameters", activations_kb],
        limits={"activations_kb_ratio": 0.9, "accuracy_drop": 0.3},
        space=SPACE,
        training=TRAINING,
        target=QUICK,
        trials=trials,
        name="own_metric",
        directory=directory,
    )


if __name__ == "__main__":
    run = main()
    print(run.pick("lean").metrics["activations_kb"].value, "kB")
