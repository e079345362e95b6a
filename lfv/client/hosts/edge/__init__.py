"""The host of models behind the Lookout for Vision Edge Agent, on the production line.

channel.py   calls over gRPC, and the translation of its errors
pixels.py    conversion of images to pixels, and of masks to PNG
memory.py    pixels in shared memory
host.py      the ModelHost
"""

from lfv.client.hosts.edge.host import EdgeAgentHost

__all__ = ["EdgeAgentHost"]
