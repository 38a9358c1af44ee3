"""The agent that measures released models on the device that runs them: `python -m infra.edge_agent --help`.

Python 3.9; imports nothing but the standard library, numpy, openvino (2021.4 or newer), boto3 and its own files of
`infra`.
"""
