variable "name" {
  description = "Of the house: a prefix of all names."
  type        = string
  default     = "penstock"
}

variable "region" {
  description = "Where it is."
  type        = string
}

variable "network" {
  description = "Addresses of the house, a /16."
  type        = string
  default     = "10.64.0.0/16"
}

variable "zones" {
  description = "Three availability zones of the region."
  type        = list(string)

  validation {
    condition     = length(var.zones) == 3
    error_message = "Kafka's three copies and Keeper's majority want three zones."
  }
}

variable "operators" {
  description = "Networks from which the cluster's API may be reached. None: from within alone."
  type        = list(string)
  default     = []
}

variable "kubernetes" {
  description = "Version of EKS."
  type        = string
  default     = "1.33"
}

variable "system_nodes" {
  description = "Nodes of gateway, ingest, metrics, admin and the operators: on demand."
  type        = object({ types = list(string), min = number, max = number })
  default     = { types = ["m7i.4xlarge"], min = 3, max = 12 }
}

variable "spot_nodes" {
  description = "Nodes of pipeline and query. Several types, so that not all are taken at once."
  type        = object({ types = list(string), min = number, max = number })
  default     = { types = ["m7i.4xlarge", "m6i.4xlarge", "m7a.4xlarge", "m6a.4xlarge"], min = 2, max = 16 }
}

variable "clickhouse_nodes" {
  description = "Nodes of ClickHouse and Keeper: on demand, one server each. The seed's are 12 of 32 cores and 128 GB; the program uses one today."
  type        = object({ types = list(string), min = number, max = number })
  default     = { types = ["m7i.8xlarge"], min = 1, max = 12 }
}

variable "kafka" {
  description = "Brokers (a multiple of 3), their type, and GB of disk of each."
  type        = object({ brokers = number, type = string, gb = number })
  default     = { brokers = 3, type = "kafka.m7g.xlarge", gb = 10000 }
}

variable "metastore" {
  description = "PostgreSQL: its class and GB of disk."
  type        = object({ class = string, gb = number })
  default     = { class = "db.m7g.large", gb = 100 }
}

variable "cache" {
  description = "Redis: its type. Two nodes, in two zones."
  type        = object({ type = string })
  default     = { type = "cache.m7g.large" }
}

variable "cache_password" {
  description = "Of Redis: 16 to 128 characters."
  type        = string
  sensitive   = true
}

variable "cold_to_infrequent_days" {
  description = "After how many days in the bucket events go to Infrequent Access. They get there when they are 30 days old, and stay until their retention."
  type        = number
  default     = 60
}
