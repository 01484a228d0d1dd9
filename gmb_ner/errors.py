class InputError(ValueError):
    """Something the user gave cannot be used.

    The message is one sentence that says what is wrong, where (file and row) and what to do;
    commands print it as it is and exit with a non-zero status.
    """
