"""Speed and quality: ours against the project's bars (`python -m benchmarks`) and against WSClean
and DP3 (`python -m benchmarks.peers`)."""
