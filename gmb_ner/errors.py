class InputError(ValueError):
    """Something the user gave cannot be used.

    The message is one sentence that says what is wrong, where (file and row) and what to do;
    commands print it as it is and exit with a non-zero status.
    """


def lacks_memory(error: Exception) -> bool:
    """Whether an error says that memory did not suffice, on the CPU or a GPU.

    NumPy and CuPy raise a MemoryError; torch and onnxruntime have no class for it on a CPU, and
    need not be installed.
    """
    said = str(error).lower()
    return isinstance(error, MemoryError) or "out of memory" in said or "allocate memory" in said
