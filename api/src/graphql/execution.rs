//! How operations run: what is to be kept of them is kept once they are known to be valid, their reads are gathered, and they
//! end in time. One extension for all of it, because each costs a call of every field.

use std::{sync::Arc, time::Duration};

use async_graphql::{
    Response, ServerError, ValidationResult,
    extensions::{Extension, ExtensionContext, ExtensionFactory, NextExecute, NextValidation},
};
use tokio::time::timeout;

use super::{batch, context::Caller, documents::Keep};
use crate::model::{error::Error, limits::Limits};

/// Runs operations.
#[derive(Clone)]
pub struct Execution {
    max_seconds: u64,
}

impl Execution {
    /// Runs them within these limits.
    pub fn new(limits: &Limits) -> Self {
        Self { max_seconds: limits.max_operation_seconds }
    }
}

impl ExtensionFactory for Execution {
    fn create(&self) -> Arc<dyn Extension> {
        Arc::new(self.clone())
    }
}

#[async_graphql::async_trait::async_trait]
impl Extension for Execution {
    async fn validation(
        &self,
        ctx: &ExtensionContext<'_>,
        next: NextValidation<'_>,
    ) -> Result<ValidationResult, Vec<ServerError>> {
        let valid = next.run(ctx).await?;
        if let Some(document) = ctx.data_opt::<Keep>() {
            document.keep();
        }
        Ok(valid)
    }

    /// Of a subscription this is one event of its stream.
    async fn execute(&self, ctx: &ExtensionContext<'_>, name: Option<&str>, next: NextExecute<'_>) -> Response {
        let operation = async {
            let operation = next.run(ctx, name);
            match ctx.data_opt::<Caller>() {
                Some(caller) => batch::drive(&caller.wanted, &caller.reader, operation).await,
                None => operation.await,
            }
        };
        timeout(Duration::from_secs(self.max_seconds), operation).await.unwrap_or_else(|_| {
            let seconds = self.max_seconds;
            let error = async_graphql::Error::from(Error::QueryTooComplex(format!(
                "The operation takes longer than {seconds} seconds (--max-operation-seconds). What it has begun to write may \
                 have been written."
            )));
            let mut ended = ServerError::new(error.message, None);
            ended.extensions = error.extensions;
            Response::from_errors(vec![ended])
        })
    }
}
