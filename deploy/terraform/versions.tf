# AWS for a house of Penstock: a network, EKS with node groups (spot for what may end at any time), MSK, RDS, ElastiCache and a bucket for old events. The chart
# (../helm) is installed on it; `terraform output` says what its values are.
#
# No provider could be fetched where this was written: it was formatted and read by checkov, its names were held against the provider's own schema, and
# it was never planned or applied.
terraform {
  required_version = ">= 1.11"

  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = "~> 6.0"
    }
  }
}

provider "aws" {
  region = var.region

  default_tags {
    tags = { house = var.name }
  }
}
