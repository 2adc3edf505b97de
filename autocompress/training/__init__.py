"""Training: the home of fastai."""

import warnings

with warnings.catch_warnings():
    # What fastai 2.8 does when it is imported (torch.jit.script, an option that pandas dropped)
    # is not our users' business, and they can't mend it.
    warnings.filterwarnings("ignore", r"`torch\.jit\.script` is deprecated")
    warnings.filterwarnings("ignore", r"The 'mode\.chained_assignment' option is deprecated")
    import fastai.callback.schedule  # noqa: F401 - gives Learner its fit_one_cycle
