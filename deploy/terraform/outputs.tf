output "values" {
  description = "Values of the chart (deploy/helm) that follow from this. Passwords and the SCRAM user of Kafka are to be put beside them."
  value = {
    stores = {
      kafka           = aws_msk_cluster.kafka.bootstrap_brokers_sasl_scram
      kafkaProperties = { "security.protocol" = "SASL_SSL", "sasl.mechanism" = "SCRAM-SHA-512" }
    }
    clickhouse = {
      cold = {
        endpoint                  = "https://${aws_s3_bucket.cold.bucket_regional_domain_name}/penstock/"
        region                    = var.region
        serviceAccountAnnotations = { "eks.amazonaws.com/role-arn" = aws_iam_role.pods["clickhouse"].arn }
      }
    }
    networkPolicies = {
      ports      = { kafka = 9096 }
      kafkaTo    = [for cidr in values(local.private) : { ipBlock = { cidr = cidr } }]
      postgresTo = [for cidr in values(local.private) : { ipBlock = { cidr = cidr } }]
      redisTo    = [for cidr in values(local.private) : { ipBlock = { cidr = cidr } }]
    }
  }
}

output "metastore" {
  description = "HOST:PORT of PostgreSQL; its password is in Secrets Manager."
  value       = { address = aws_db_instance.metastore.endpoint, secret = aws_db_instance.metastore.master_user_secret[0].secret_arn }
}

output "cache" {
  description = "HOST of Redis, by TLS: rediss://."
  value       = aws_elasticache_replication_group.cache.primary_endpoint_address
}
