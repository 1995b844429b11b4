"""Learning hyperparameters: blocks of observations, starts from the data, composite likelihood."""
