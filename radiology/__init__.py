"""A DICOM series or a NIfTI file as voxels, spacing and orientation."""
