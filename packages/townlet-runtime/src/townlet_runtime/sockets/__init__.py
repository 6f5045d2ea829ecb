"""What servers of WebSockets share: who may come in, a thread of their own, the fields of messages. Extra `live`."""
