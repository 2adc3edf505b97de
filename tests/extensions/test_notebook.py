"""A notebook: functions live in __main__, a run is interrupted, and goes on in a later cell."""

import os
import subprocess
import sys
from pathlib import Path

EXAMPLES = Path(__file__).parents[2] / "examples"
NOTEBOOK = """
import autocompress as ac
import torch
from small import SPACE, TRAINING, digits, trained

for cell in range(2):  # the cell runs twice
    @ac.CRITERIA.register
    def flattest(weight):
        '''Return how far weights are from 0.'''
        return weight.abs()

    @ac.metric(direction="minimize", unit="layers")
    def layers(candidate):
        return len(list(candidate.model.modules()))

def item_loss(outputs, labels):
    return torch.nn.functional.cross_entropy(outputs, labels)

def right(outputs, labels):
    return outputs.argmax(1) == labels

TASK = ac.Task(loss=item_loss, scores=[ac.Share(right, ac.Metric(
    name="right", direction="maximize", format="fraction", comparison="difference"))])

net = trained(epochs=1)

def cell(**more):
    return ac.search(
        net, digits(), task=TASK, objectives=["right", "latency_ms", "parameters", layers],
        space={**SPACE, "criterion": "flattest"}, training=TRAINING, study={"derive": False},
        target={"device": "cpu", "budget_s": 0.1}, trials=3, name="notebook", **more,
    )

printed = ac.progress_printer()

def stop_in_the_second_trial(event):
    printed(event)
    if type(event).__name__ == "TrialDone":
        # Ctrl-C while the next trial trains
        ac.CRITERIA.unregister("flattest")
        ac.CRITERIA.register(interrupting, "flattest")

def interrupting(weight):
    '''Be interrupted.'''
    raise KeyboardInterrupt

try:
    cell(progress=stop_in_the_second_trial)
except KeyboardInterrupt:
    print("INTERRUPTED", [t.state for t in ac.Run.open("runs/notebook").trials()])
ac.CRITERIA.unregister("flattest")
ac.CRITERIA.register(flattest)
run = cell(resume=True)
print("FINISHED", [t.state for t in run.trials()], len(run.front()))
"""


def test_a_notebook(tmp_path):
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(EXAMPLES), str(EXAMPLES.parent)])}
    done = subprocess.run(
        [sys.executable, "-c", NOTEBOOK],
        cwd=tmp_path, env=env, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    told = done.stdout
    assert "INTERRUPTED ['complete', 'waiting']" in told
    assert "FINISHED ['complete', 'complete', 'complete']" in told
    assert "[1/3] trial 0 complete" in told + done.stderr
    assert "[3/3] trial 2 complete" in told + done.stderr
