"""The test rig: real servers on loopback, and a proxy that injects faults."""
