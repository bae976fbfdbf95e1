"""The messages of the catalog's and the exchange's streams, by their families."""

from p2pvoice.protocol import catalog_messages as cat
from p2pvoice.protocol import collection_messages as col
from p2pvoice.protocol import exchange_messages as exc
from p2pvoice.protocol import recall_messages as rec
from p2pvoice.protocol.messages import Fail

KINDS = (
    *(cat.Query, cat.QueryPage, cat.GetRelease, cat.ReleaseReply, cat.GetHead, cat.HeadReply),
    *(rec.GetRevocations, rec.Revocations, rec.TellRevocation, rec.GetSuccessor, rec.SuccessorReply),
    *(col.GetCollection, col.CollectionReply),
    *(exc.GetHave, exc.Have, exc.Want, exc.ChunkFrame),
    Fail,
)
