"""The capture agent: from the air or a capture file to messages of type `frame`.

The folder is the frame's journey: capture_file (pcapng) → radiotap | link (with phy) → dot11 →
management → elements → security, put together by frame; pcap is the source that reads files, sniffer
the one that hears live (with rights and listener → ring, bpf, device).
A module imports only from those further in.
"""
