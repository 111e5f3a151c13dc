"""tokstore beside its peers: the same samples, the same batches, one process for each."""
