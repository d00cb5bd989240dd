#!/bin/sh
# How misago's team deploys: one manifest after the other, then a step that no manifest holds.
set -eu
cd "$(dirname "$0")"

for component in namespace ingress postgres redis celery misago misago-frontend nginx; do
  kubectl apply -f "$component.yaml"
done

kubectl -n gic6 rollout status deployment/misago --timeout=180s
pod=$(kubectl -n gic6 get pods -l app=misago -o \
  jsonpath='{range .items[?(@.status.containerStatuses[0].ready==true)]}{.metadata.name}{"\n"}{end}' | head -n 1)
kubectl -n gic6 exec "$pod" -c misago -- /app/run collectstatic   # into the volume that nginx serves
