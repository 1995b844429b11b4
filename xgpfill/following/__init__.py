"""Covariances that follow the field: what differs with the direction is learned here, beside the kernels themselves."""
