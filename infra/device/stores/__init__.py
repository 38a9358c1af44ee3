"""The object store that pipeline and devices share: a folder or an S3 bucket."""
