"""Everything about a node's models in one view, the same for the app and for `domovoi models`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from inference_node.loading.fitting import fit
from inference_node.models import origins
from inference_node.models.catalogue import CATALOGUE, CatalogueModel, proposal
from inference_node.models.models import people_name
from shared.errors import Code, DomovoiError
from shared.library_wire import CatalogueOffer, Library, LibraryModel

if TYPE_CHECKING:
    from pathlib import Path

    from inference_node.hardware.survey import Hardware
    from inference_node.models.models import FoundFile, ModelStore

# Every token reads all weights. At the 40 GB/s of a desktop's memory more than this gives under ten tokens a second.
MOST_WITHOUT_CARD = 4 * 1024**3


def overview(store: ModelStore, setting: str | None, hardware: Hardware) -> Library:
    """Return what is here and what can be fetched. `setting` is the model that the owner has set, if any."""
    default = _default(store, setting)
    names = {model.path: model.name for model in store.list()}
    models = [_found(store, found, names, default, hardware) for found in store.survey()]
    models += [_partial(store, file, origin) for file, origin in origins.unfinished(store.folder).items()]
    here = {model.file for model in models if model.state != "damaged"}
    return Library(
        models=sorted(models, key=lambda model: (model.name, model.file)),
        catalogue=[_offer(model) for model in CATALOGUE if model.file.name not in here],
        proposal=proposal(_largest(hardware)),
        disk_free=hardware.disk_free,
    )


def require_free_choice(setting: str | None) -> None:
    """Raise DomovoiError `model_fixed` when a setting names the default, as a choice would then change nothing."""
    if setting is not None:
        raise DomovoiError(
            Code.MODEL_FIXED,
            f"The setting `model` names {setting}, and wins. Take it out of domovoi.toml or DOMOVOI_MODEL first.",
        )


def _largest(hardware: Hardware) -> int:
    """Return the memory to choose a model for: a graphics card's, when one could run it, or else the machine's."""
    cards = [card.memory or 0 for card in hardware.cards if card.capability and not card.problem]
    return max(cards, default=min(hardware.memory_total // 2, MOST_WITHOUT_CARD))


def _default(store: ModelStore, setting: str | None) -> Path | None:
    try:
        return store.find_configured(setting).path
    except DomovoiError:
        return None


def _found(
    store: ModelStore, found: FoundFile, names: dict[Path, str], default: Path | None, hardware: Hardware
) -> LibraryModel:
    header, origin = found.header, origins.read(store.folder, found.path.name)
    name = names.get(found.path, people_name(found.path))
    source, sha256 = (origin.source, origin.sha256) if origin else (None, None)
    if header is None:
        return LibraryModel(
            found.path.name, name, found.size, found.state, source=source, sha256=sha256, detail=found.detail
        )
    fitted = fit(header, hardware.memory_free)
    return LibraryModel(
        file=found.path.name,
        name=name,
        size=found.size,
        state=found.state,
        is_default=found.path == default,
        done_bytes=found.size,
        architecture=header.architecture,
        parameters=header.parameters,
        quantisation=header.quantisation,
        context=header.context,
        has_chat_template=header.has_chat_template,
        licence=header.licence,
        source=source,
        sha256=sha256,
        fits=fitted.verdict,
        fitting_context=fitted.context,
        detail=" ".join(filter(None, [found.detail, header.remark])),
    )


def _partial(store: ModelStore, file: str, origin: origins.Origin) -> LibraryModel:
    return LibraryModel(
        file=file,
        name=people_name(store.folder / file),
        size=origin.total,
        state="partial",
        done_bytes=min(origins.done(store.folder, origin), origin.total),
        source=origin.source,
        sha256=origin.sha256,
    )


def _offer(model: CatalogueModel) -> CatalogueOffer:
    return CatalogueOffer(
        id=model.id,
        name=model.name,
        file=model.file.name,
        size=model.file.size,
        download_bytes=model.download_bytes,
        parameters=model.parameters,
        quantisation=model.quantisation,
        context=model.context,
        is_chat=model.is_chat,
        licence=model.licence.name,
        licence_url=model.licence.url,
        must_accept=model.licence.must_accept,
        for_whom=model.for_whom,
    )
