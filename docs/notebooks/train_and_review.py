# %% [markdown]
# # Train and review, without a window
#
# A network learns from two labelled scans and four others, proposes masks for the four,
# and says which of them to look at first. Tiny scans and a tiny network make it a
# matter of seconds; nothing here says how well the methods do on patients
# ([benchmark](../../benchmark/)).

# %%
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import nibabel
import numpy as np

import napari_semiseg as ss

folder = Path(tempfile.mkdtemp())

# %% [markdown]
# ## Six scans, two of them labelled

# %%
chance = np.random.default_rng(0)
position = np.indices((24, 24, 24)).T.T
balls = {}
project = ss.Project.create(folder / "balls", labels={"ball": 1})
for number in range(1, 7):
    centre = chance.uniform(9, 15, 3)[:, None, None, None]
    ball = np.linalg.norm(position - centre, axis=0) < chance.uniform(5, 7)
    grey = (100 * ball + chance.normal(0, 25, ball.shape)).astype(np.int16)
    file = folder / f"scan_{number}.nii.gz"
    nibabel.save(nibabel.Nifti1Image(grey.T, np.diag([-1.0, -1.0, 1.0, 1.0])), file)
    balls[f"scan_{number}"] = ball.astype(np.uint8)
project.add(*folder.glob("scan_*.nii.gz"))
for name in ("scan_1", "scan_2"):
    project.set_label(name, balls[name])

# %% [markdown]
# ## Train
#
# `ss.train` is a generator of events; whoever stops reading stops the training, and
# `ss.resume` goes on with it. For scans of patients leave the settings alone and say
# how long it may take: `ss.TrainingConfig(minutes=20)`.

# %%
config = ss.TrainingConfig(
    steps=60, width=4, patch_zyx=(16, 16, 16), labelled_batch=2, unlabelled_batch=1
)
losses = {}
for event in ss.train(project, config):
    if event.type == "stepped":
        losses[event.step] = event.losses["supervised"]
print(f"loss {losses[min(losses)]:.2f} at first, {losses[max(losses)]:.2f} at last")

# %% [markdown]
# ## Predict
#
# A prediction is a mask on the scan's own grid, the signed distance to its surface in
# mm, and the uncertainty of each voxel.

# %%
run = project.latest_run()
for case in project.cases(state="unlabelled"):
    prediction = ss.predict(run, case)
    run.write_prediction(prediction, case.image)

grey = nibabel.load(case.image).get_fdata().T
middle = grey.shape[0] // 2
shown = {
    "scan": grey[middle],
    "mask": prediction.labels[middle],
    "uncertainty": prediction.uncertainty[middle],
}
_, axes = plt.subplots(1, 3, figsize=(8, 3))
for axis, (title, picture) in zip(axes, shown.items(), strict=True):
    axis.imshow(picture, cmap="gray")
    axis.set_title(title)
    axis.axis("off")
plt.show()

# %% [markdown]
# ## What to look at first

# %%
queue = ss.suggest(project, k=2).volumes
for volume in queue:
    print(volume.case, "-", volume.reason)

# %% [markdown]
# ## Accept
#
# A corrected mask becomes a label, from which the next training learns. The history of
# the case keeps who made it and how much was changed.

# %%
first = queue[0].case
project.set_label(first, balls[first])
print(project.case(first).state)
