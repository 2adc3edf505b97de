"""A start of your own: trials go on from the network of an earlier one instead of the baseline."""

from dataclasses import replace

from small import QUICK, SPACE, TRAINING, digits, trained

import autocompress as ac


class FromTheFirst(ac.InlineExecutor):
    """Runs trials in this process; all but the first start from the network of trial 0.

    The trainable weights of a trial lie in its folder. A recipe says where it starts, so that
    ``reproduce`` and bundles know the whole chain.
    """

    def submit(self, job: ac.Job) -> None:
        """Take a job; a proposal for it was made without a start."""
        if job.number > 0:
            recipe = {**job.recipe, "start": 0}
            job = replace(job, recipe=recipe, start_folder="00000")
        super().submit(job)


def main(directory: str = "runs", trials: int = 6) -> ac.Run:
    """Search, from the network of the first trial on."""
    return ac.search(
        trained(),
        digits(),
        executor=FromTheFirst(),
        space=SPACE,
        training=TRAINING,
        target=QUICK,
        trials=trials,
        name="own_start",
        directory=directory,
    )


if __name__ == "__main__":
    for trial in main().trials():
        print(trial.number, trial.start, trial.in_short)
