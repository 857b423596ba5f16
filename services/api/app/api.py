"""The map of the service: every router, in the order of the documentation."""

from fastapi import APIRouter

from app.analysis.router import router as analysis
from app.audit.router import router as audit
from app.batches.router import router as batches
from app.detectors.router import router as detectors
from app.evidence.router import router as evidence
from app.health.router import router as health
from app.replays.router import router as replays
from app.reports.router import router as reports
from app.retention.router import router as retention
from app.runs.router import router as runs
from app.webhooks.router import router as webhooks

ROUTERS: tuple[APIRouter, ...] = (
    health,  # /health /ready /version /metrics
    analysis,  # /v1/analysis/upload, /v1/analysis, /v1/analysis/{id}
    runs,  # /v1/analysis/{id}/run, /v1/analysis/{id}/runs
    replays,  # /v1/analysis/{id}/replay, /v1/analysis/{id}/replays
    reports,  # /v1/analysis/{id}/report
    evidence,  # /v1/analysis/{id}/evidence
    retention,  # DELETE /v1/analysis/{id}/evidence, /v1/analysis/{id}/hold
    batches,  # /v1/batches
    audit,  # /v1/analysis/{id}/events, /v1/audit/chain
    webhooks,  # /v1/webhooks
    detectors,  # /v1/models
)
