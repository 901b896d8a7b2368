"""Message brokers that operators name: the clients of AMQP 0-9-1 and Kafka, and nothing of what is done with a message."""
