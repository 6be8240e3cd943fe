{{- define "llm-cache-server.name" -}}
{{- .Values.nameOverride | default .Chart.Name | trunc 63 | trimSuffix "-" -}}
{{- end }}

{{- /* 52: the longest suffix is "-headless", and pods add their number. */ -}}
{{- define "llm-cache-server.fullname" -}}
{{- $name := include "llm-cache-server.name" . -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 52 | trimSuffix "-" -}}
{{- else if contains $name .Release.Name -}}
{{- .Release.Name | trunc 52 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 52 | trimSuffix "-" -}}
{{- end -}}
{{- end }}

{{- define "llm-cache-server.selectorLabels" -}}
app.kubernetes.io/name: {{ include "llm-cache-server.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- /* (list . COMPONENT). No version: the image's tag says what runs. */ -}}
{{- define "llm-cache-server.labels" -}}
{{- $top := index . 0 -}}
{{ include "llm-cache-server.selectorLabels" $top }}
app.kubernetes.io/component: {{ index . 1 }}
app.kubernetes.io/managed-by: {{ $top.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" $top.Chart.Name $top.Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{- end }}

{{- define "llm-cache-server.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{- .Values.serviceAccount.name | default (include "llm-cache-server.fullname" .) -}}
{{- else -}}
{{- required "serviceAccount.name is needed where serviceAccount.create is false" .Values.serviceAccount.name -}}
{{- end -}}
{{- end }}

{{- define "llm-cache-server.image" -}}
{{- .Values.image.repository -}}
{{- with .Values.image.tag }}:{{ . }}{{ end -}}
{{- with .Values.image.digest }}@{{ . }}{{ end -}}
{{- end }}

{{- /* Without a disk the pods are all alike. Quoted or not, `off` is one word here. */ -}}
{{- define "llm-cache-server.kind" -}}
{{- $disk := dig "store" "disk" true .Values.config | toString -}}
{{- has $disk (list "false" "off") | ternary "Deployment" "StatefulSet" -}}
{{- end }}

{{- /* The server's configuration file. */ -}}
{{- define "llm-cache-server.config" -}}
{{ toYaml .Values.config }}
{{- end }}

{{- /* The grace period, which may not be shorter than what it is made of. 10 s: closing the store. */ -}}
{{- define "llm-cache-server.gracePeriod" -}}
{{- $deadline := dig "server" "shutdown_deadline" "25s" .Values.config | toString -}}
{{- if not (regexMatch "^([0-9]+ *(ms|s|m|h) *)+$" $deadline) -}}
{{- fail (printf "config.server.shutdown_deadline: write %s like 25s or 2m" $deadline) -}}
{{- end -}}
{{- $milliseconds := dict "ms" 1 "s" 1000 "m" 60000 "h" 3600000 -}}
{{- $sum := 0 -}}
{{- range regexFindAll "[0-9]+ *(ms|s|m|h)" $deadline -1 -}}
{{- $sum = add $sum (mul (regexFind "[0-9]+" .) (get $milliseconds (regexFind "[a-z]+" .))) -}}
{{- end -}}
{{- $least := add .Values.preStopSeconds (div (add $sum 999) 1000) 10 -}}
{{- if lt (int64 .Values.terminationGracePeriodSeconds) $least -}}
{{- fail (printf "terminationGracePeriodSeconds must be at least %d: preStopSeconds + config.server.shutdown_deadline + 10" $least) -}}
{{- end -}}
{{- int64 .Values.terminationGracePeriodSeconds -}}
{{- end }}
