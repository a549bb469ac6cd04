"""Search for hyperparameters: `sweep` trains many settings in one program."""
