"""Tests of more than one device, with processes on the CPU."""
