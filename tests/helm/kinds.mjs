// Checks objects of kinds that Kubernetes does not bring: JSON objects in an array on stdin, mistakes on stdout.
import { HTTPRoute } from '@kubernetes-models/gateway-api/gateway.networking.k8s.io/v1/HTTPRoute'
import { PrometheusRule } from '@kubernetes-models/prometheus-operator/monitoring.coreos.com/v1/PrometheusRule'
import { ServiceMonitor } from '@kubernetes-models/prometheus-operator/monitoring.coreos.com/v1/ServiceMonitor'

const kinds = { HTTPRoute, PrometheusRule, ServiceMonitor }

let text = ''
for await (const part of process.stdin) text += part
for (const object of JSON.parse(text)) {
  try {
    new kinds[object.kind](object).validate()
  } catch (error) {
    console.log(`${object.kind}: ${error.message}`)
    process.exitCode = 1
  }
}
