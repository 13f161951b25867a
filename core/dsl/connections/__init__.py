"""What components share to deal with another side; every connection goes through core.guard.

http        outgoing requests, as a document declares them; http_auth: how they prove who sends them
calls       calls for events in the middle of a job: in flight, paced, and what a failed one means for its event;
            resource: addresses whose host no event chooses; answers: those that are remembered
models      the API of OpenAI: what is asked and answered; spending: tokens, money, budgets
http_requests  the other end: requests that come in, and their answers
sockets     addresses to listen at and to connect to
streams     JetStream of a NATS server, which nothing else of the language imports
kafka       clusters of Kafka, as a document names them; kafka_client: the only place that knows aiokafka, and how it
            is made to connect through the guard
leases      items of KV queues in the hands of a job; kv_operation: how documents write what a KV component does
retry       when a fault that may pass is tried again
"""
