"""What a user does with the Kubernetes client for Python. It prints one line of JSON.

usage: client.py KUBECONFIG NAMESPACE POD
"""

import json
import sys
import threading

from kubernetes import client, config, watch
from kubernetes.stream import stream

kubeconfig, namespace, pod = sys.argv[1:4]
api = client.CoreV1Api(config.new_client_from_config(kubeconfig))
result = {"nodes": [node.metadata.name for node in api.list_node().items]}


def body(name, value):
    return {"metadata": {"name": name}, "data": {"value": value}}


def change():
    api.create_namespaced_config_map(namespace, body("python", "1"))
    api.replace_namespaced_config_map("python", namespace, body("python", "2"))
    api.delete_namespaced_config_map("python", namespace)


version = api.list_namespaced_config_map(namespace).metadata.resource_version
changes = threading.Timer(0.2, change)
changes.start()
result["events"] = []
followed = watch.Watch()
for event in followed.stream(
    api.list_namespaced_config_map, namespace, field_selector="metadata.name=python",
    resource_version=version, timeout_seconds=60,
):
    result["events"].append(event["type"])
    if event["type"] == "DELETED":
        followed.stop()
changes.join()

result["exec"] = stream(
    api.connect_get_namespaced_pod_exec, pod, namespace, command=["echo", "from", "python"],
    stderr=True, stdin=False, stdout=True, tty=False,
)

session = stream(
    api.connect_get_namespaced_pod_exec, pod, namespace,
    command=["sh", "-c", "read line; echo got $line; exit 3"],
    stderr=True, stdin=True, stdout=True, tty=False, _preload_content=False,
)
session.write_stdin("a line\n")
output = ""
while session.is_open():
    session.update(timeout=1)
    if session.peek_stdout():
        output += session.read_stdout()
result["session"] = output
result["code"] = session.returncode
result["log"] = api.read_namespaced_pod_log(pod, namespace, tail_lines=2)
try:
    api.read_namespaced_secret("missing", namespace)
except client.exceptions.ApiException as error:
    result["missing"] = json.loads(error.body)["reason"]
print(json.dumps(result))
