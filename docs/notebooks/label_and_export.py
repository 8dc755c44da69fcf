# %% [markdown]
# # Labels and exports, without a window
#
# What a radiologist does in the panel can be done in a script too. This notebook makes
# a project of three synthetic scans, labels one of them, and exports its mask with a
# table of volumes. It needs neither PyTorch nor a screen.

# %%
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import nibabel
import numpy as np

import napari_semiseg as ss

folder = Path(tempfile.mkdtemp())

# %% [markdown]
# ## Three scans
#
# Each is a bright ball in noise. The slices are 2 mm apart and their pixels measure 1
# mm, as the header says. Any NIfTI, NRRD, MetaImage or DICOM scan does as well.

# %%
chance = np.random.default_rng(0)
z, y, x = np.indices((16, 32, 32))
balls = {}
for number, radius_mm in enumerate((8, 9, 11), start=1):
    distance_mm = np.sqrt((2 * (z - 8)) ** 2 + (y - 16) ** 2 + (x - 16) ** 2)
    balls[f"scan_{number}"] = ball = distance_mm <= radius_mm
    grey = (100 * ball + chance.normal(0, 20, ball.shape)).astype(np.int16)
    image = nibabel.Nifti1Image(grey.T, np.diag([-1.0, -1.0, 2.0, 1.0]))
    nibabel.save(image, folder / f"scan_{number}.nii.gz")

# %% [markdown]
# ## A project
#
# A project is a folder. Images are referenced where they lie, never copied or changed.

# %%
project = ss.Project.create(folder / "balls", labels={"ball": 1})
project.add(*folder.glob("scan_*.nii.gz"))
for case in project.cases():
    print(case.id, case.state, case.geometry.spacing_mm)

# %% [markdown]
# ## A label
#
# Arrays are in (z, y, x) order. 0 is background, and 255 means "not annotated":
# training learns from what was annotated, and treats the rest like a scan without a
# label. Here three slices of the first scan are annotated.

# %%
mask = np.full(z.shape, 255, np.uint8)
for index in (5, 8, 11):
    mask[index] = balls["scan_1"][index]
project.set_label("scan_1", mask)
case = project.case("scan_1")
print(case.state, f"{case.annotated_fraction:.0%} annotated")

# %% [markdown]
# A whole mask makes a labelled case. The label from before is not lost: it is in
# `cases/scan_1/previous/`.

# %%
project.set_label("scan_1", balls["scan_1"].astype(np.uint8))
case = project.case("scan_1")
print(case.state, len(list((project.folder / "cases/scan_1/previous").iterdir())))

# %%
grey = nibabel.load(case.image).get_fdata().T
plt.figure(figsize=(3, 3))
plt.imshow(grey[8], cmap="gray")
plt.contour(case.read_label()[8] == 1, levels=[0.5], colors="tab:orange")
plt.axis("off")
plt.show()

# %% [markdown]
# ## An export
#
# Masks come back on the grid of the scan, with its header, and with a table of volumes.

# %%
project.export(folder / "delivery", what="labels")
print((folder / "delivery" / "volumes.csv").read_text())

# %% [markdown]
# The volume is what the voxels say it should be: their number times 2 mm³.

# %%
print(f"{balls['scan_1'].sum() * 2 / 1000:.3f} mL")
