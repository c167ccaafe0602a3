//! metrics-service
