use super::{ServerDense, request};
use crate::IndexError;
use qdrant_client::qdrant::{
    CollectionInfo, CollectionStatus, OptimizersConfigDiffBuilder, UpdateCollectionBuilder,
};

impl ServerDense {
    /// The collection's state, and the length of its vectors; `None` where there is none.
    pub(super) async fn info(
        &self,
        collection: &str,
    ) -> Result<Option<(CollectionInfo, u32)>, IndexError> {
        let name = self.server.name(collection)?;
        let answer = self
            .server
            .call("read", collection, || {
                self.server.client.collection_info(name.clone())
            })
            .await;
        let answer = match answer {
            Ok(answer) => answer.result,
            Err(IndexError::NoCollection { .. }) => None,
            Err(error) => return Err(error),
        };
        let Some(info) = answer else { return Ok(None) };
        let dimensions =
            request::dimensions(&info).ok_or_else(|| self.server.foreign(collection))?;
        Ok(Some((info, dimensions)))
    }

    pub(super) async fn existing(
        &self,
        collection: &str,
    ) -> Result<(CollectionInfo, u32), IndexError> {
        self.info(collection)
            .await?
            .ok_or_else(|| self.server.missing(collection))
    }

    /// Makes the payload indexes that are missing: a crash may have come between the collection and these.
    pub(super) async fn create_indexes(
        &self,
        collection: &str,
        info: &CollectionInfo,
    ) -> Result<(), IndexError> {
        let name = self.server.name(collection)?;
        for request in request::indexes(&name)
            .into_iter()
            .filter(|new| !info.payload_schema.contains_key(&new.field_name))
        {
            self.server
                .call("create", collection, || {
                    self.server.client.create_field_index(request.clone())
                })
                .await?;
        }
        Ok(())
    }

    /// Whether the server has nothing left to build. A server that waits for a push after its start gets one.
    pub(super) async fn is_optimized(&self, collection: &str) -> Result<bool, IndexError> {
        let (info, _) = self.existing(collection).await?;
        if let Some(status) = info.optimizer_status.as_ref().filter(|status| !status.ok) {
            return Err(self.server.refused("optimize", collection, &status.error));
        }
        match info.status() {
            CollectionStatus::Green => Ok(true),
            CollectionStatus::Red => Err(self.server.refused(
                "optimize",
                collection,
                "its state is red: see the server's log",
            )),
            CollectionStatus::Grey => {
                let push = UpdateCollectionBuilder::new(self.server.name(collection)?)
                    .optimizers_config(OptimizersConfigDiffBuilder::default());
                let push = push.build();
                self.server
                    .call("optimize", collection, || {
                        self.server.client.update_collection(push.clone())
                    })
                    .await?;
                Ok(false)
            }
            CollectionStatus::Yellow | CollectionStatus::UnknownCollectionStatus => Ok(false),
        }
    }
}
