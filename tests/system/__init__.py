"""System tests: real daemons, real servers, a real client."""
