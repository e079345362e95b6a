"""A model behind the Lookout for Vision Edge Agent, on the line.

channel.py   calls over gRPC, and what its codes mean
pixels.py    from an image's bytes to the agent's pixels, and from its mask to a PNG
memory.py    pixels in shared memory
host.py      the ModelHost
"""

from lfv.client.hosts.edge.host import KIND, EdgeAgentHost

__all__ = ["KIND", "EdgeAgentHost"]
