"""3D-UNet: segmentation of whole volumes by overlapping windows (KiTS19 and smaller kin)."""
