"""LangChain's own interfaces on top of `Llama`: invoke, stream, a chain, a retriever."""

from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("langchain_core")

from langchain_core.messages import AIMessage, HumanMessage, SystemMessage
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate

from asl_llamacpp import Document, Llama, Turn
from asl_llamacpp.integrations.langchain import ChatASL, DocumentQA

QUESTION = "What is the pass key?"


def test_a_chat_about_a_document_is_what_it_answers_itself(llm: Llama, document: Document) -> None:
    chat = ChatASL(llm=llm, document=document, max_tokens=4)
    messages = [HumanMessage(QUESTION), AIMessage("48213"), HumanMessage("Who sleeps?")]
    message: Any = chat.invoke(messages)
    own = document.ask("Who sleeps?", history=[Turn(QUESTION, "48213")], max_tokens=4)
    assert message.content == own.text and message.usage_metadata["output_tokens"] == own.usage["completion_tokens"]
    assert [span["start"] for span in message.response_metadata["evidence"]] == [span.start for span in own.evidence]
    pieces = list(chat.stream(messages))
    assert "".join(str(piece.content) for piece in pieces).strip() == own.text


def test_a_chain_without_a_document(llm: Llama) -> None:
    prompt = ChatPromptTemplate.from_messages([("system", "Be brief."), ("human", "{what}")])
    chain = prompt | ChatASL(llm=llm, max_tokens=3) | StrOutputParser()
    assert isinstance(chain.invoke({"what": "Hi"}), str)


def test_the_retriever_gives_the_evidence(document: Document) -> None:
    found = DocumentQA(document=document, k=3).invoke(QUESTION)
    own = document.ask(QUESTION, max_tokens=1).evidence[:3]
    assert [passage.page_content for passage in found] == [span.text for span in own]
    assert found[0].metadata["source"] == "valley" and "no proof" in found[0].metadata["note"]


def test_messages_in_no_order_are_refused(llm: Llama, document: Document) -> None:
    chat = ChatASL(llm=llm, document=document)
    with pytest.raises(ValueError, match="last message"):
        chat.invoke([SystemMessage("Be brief.")])
