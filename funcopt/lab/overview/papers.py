"""Where each optimizer comes from, and how to cite it."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Paper:
    """A publication; `kind` is the type of its BibTeX entry, `where` the field that names it."""

    key: str
    authors: str
    title: str
    kind: str
    where: str
    year: int
    url: str

    @property
    def short(self) -> str:
        """Authors and year as a text would say them.

        >>> PAPERS["adam"].short
        'Kingma & Ba, 2015'
        """
        names = [author.split(",")[0] for author in self.authors.split(" and ")]
        who = " & ".join(names) if len(names) < 3 else f"{names[0]} et al."
        return f"{who}, {self.year}"

    def bibtex(self) -> str:
        """The BibTeX entry.

        >>> print(PAPERS["adadelta"].bibtex())
        @misc{zeiler2012adadelta,
          author = {Zeiler, Matthew D.},
          title = {{ADADELTA: An Adaptive Learning Rate Method}},
          howpublished = {arXiv:1212.5701},
          year = {2012},
          url = {https://arxiv.org/abs/1212.5701},
        }
        """
        fields = {
            "inproceedings": "booktitle",
            "article": "journal",
            "misc": "howpublished",
        }
        return (
            f"@{self.kind}{{{self.key},\n"
            f"  author = {{{self.authors}}},\n"
            f"  title = {{{{{self.title}}}}},\n"
            f"  {fields[self.kind]} = {{{self.where}}},\n"
            f"  year = {{{self.year}}},\n"
            f"  url = {{{self.url}}},\n"
            "}"
        )


ICLR = "International Conference on Learning Representations"
ICML = "International Conference on Machine Learning"
NEURIPS = "Advances in Neural Information Processing Systems"

MOMENTUM = Paper(
    key="sutskever2013importance",
    authors="Sutskever, Ilya and Martens, James and Dahl, George and Hinton, Geoffrey",
    title="On the importance of initialization and momentum in deep learning",
    kind="inproceedings",
    where=ICML,
    year=2013,
    url="https://proceedings.mlr.press/v28/sutskever13.html",
)
ADAGRAD = Paper(
    key="duchi2011adaptive",
    authors="Duchi, John and Hazan, Elad and Singer, Yoram",
    title="Adaptive Subgradient Methods for Online Learning and Stochastic Optimization",
    kind="article",
    where="Journal of Machine Learning Research",
    year=2011,
    url="https://jmlr.org/papers/v12/duchi11a.html",
)
RMSPROP = Paper(
    key="tieleman2012rmsprop",
    authors="Tieleman, Tijmen and Hinton, Geoffrey",
    title="Lecture 6.5: RMSProp, divide the gradient by a running average of its recent magnitude",
    kind="misc",
    where="COURSERA: Neural Networks for Machine Learning",
    year=2012,
    url="https://www.cs.toronto.edu/~tijmen/csc321/slides/lecture_slides_lec6.pdf",
)
ADADELTA = Paper(
    key="zeiler2012adadelta",
    authors="Zeiler, Matthew D.",
    title="ADADELTA: An Adaptive Learning Rate Method",
    kind="misc",
    where="arXiv:1212.5701",
    year=2012,
    url="https://arxiv.org/abs/1212.5701",
)
ADAM = Paper(
    key="kingma2015adam",
    authors="Kingma, Diederik P. and Ba, Jimmy",
    title="Adam: A Method for Stochastic Optimization",
    kind="inproceedings",
    where=ICLR,
    year=2015,
    url="https://arxiv.org/abs/1412.6980",
)
ADAMW = Paper(
    key="loshchilov2019decoupled",
    authors="Loshchilov, Ilya and Hutter, Frank",
    title="Decoupled Weight Decay Regularization",
    kind="inproceedings",
    where=ICLR,
    year=2019,
    url="https://arxiv.org/abs/1711.05101",
)
NADAM = Paper(
    key="dozat2016incorporating",
    authors="Dozat, Timothy",
    title="Incorporating Nesterov Momentum into Adam",
    kind="inproceedings",
    where=f"{ICLR}, Workshop Track",
    year=2016,
    url="https://openreview.net/forum?id=OM0jvwB8jIp57ZJjtNEZ",
)
AMSGRAD = Paper(
    key="reddi2018convergence",
    authors="Reddi, Sashank J. and Kale, Satyen and Kumar, Sanjiv",
    title="On the Convergence of Adam and Beyond",
    kind="inproceedings",
    where=ICLR,
    year=2018,
    url="https://arxiv.org/abs/1904.09237",
)
STABLE_ADAMW = Paper(
    key="wortsman2023stable",
    authors="Wortsman, Mitchell and Dettmers, Tim and Zettlemoyer, Luke and Morcos, Ari and "
    "Farhadi, Ali and Schmidt, Ludwig",
    title="Stable and low-precision training for large-scale vision-language models",
    kind="misc",
    where="arXiv:2304.13013",
    year=2023,
    url="https://arxiv.org/abs/2304.13013",
)
SPAM = Paper(
    key="huang2025spam",
    authors="Huang, Tianjin and Zhu, Ziquan and Jin, Gaojie and Liu, Lu and Wang, Zhangyang and "
    "Liu, Shiwei",
    title="SPAM: Spike-Aware Adam with Momentum Reset for Stable LLM Training",
    kind="misc",
    where="arXiv:2501.06842",
    year=2025,
    url="https://arxiv.org/abs/2501.06842",
)
STABLE_SPAM = Paper(
    key="huang2025stable",
    authors="Huang, Tianjin and Hu, Haotian and Zhang, Zhenyu and Jin, Gaojie and Li, Xiang and "
    "Shen, Li and Chen, Tianlong and Liu, Lu and Wen, Qingsong and Wang, Zhangyang and Liu, Shiwei",
    title="Stable-SPAM: How to Train in 4-Bit More Stably than 16-Bit Adam",
    kind="misc",
    where="arXiv:2502.17055",
    year=2025,
    url="https://arxiv.org/abs/2502.17055",
)
LION = Paper(
    key="chen2023symbolic",
    authors="Chen, Xiangning and Liang, Chen and Huang, Da and Real, Esteban and Wang, Kaiyuan and "
    "Pham, Hieu and Dong, Xuanyi and Luong, Thang and Hsieh, Cho-Jui and Lu, Yifeng and "
    "Le, Quoc V.",
    title="Symbolic Discovery of Optimization Algorithms",
    kind="inproceedings",
    where=NEURIPS,
    year=2023,
    url="https://arxiv.org/abs/2302.06675",
)
ADABELIEF = Paper(
    key="zhuang2020adabelief",
    authors="Zhuang, Juntang and Tang, Tommy and Ding, Yifan and Tatikonda, Sekhar and "
    "Dvornek, Nicha and Papademetris, Xenophon and Duncan, James S.",
    title="AdaBelief Optimizer: Adapting Stepsizes by the Belief in Observed Gradients",
    kind="inproceedings",
    where=NEURIPS,
    year=2020,
    url="https://arxiv.org/abs/2010.07468",
)
COCOB = Paper(
    key="orabona2017training",
    authors="Orabona, Francesco and Tommasi, Tatiana",
    title="Training Deep Networks without Learning Rates Through Coin Betting",
    kind="inproceedings",
    where=NEURIPS,
    year=2017,
    url="https://arxiv.org/abs/1705.07795",
)
D_ADAPTATION = Paper(
    key="defazio2023learning",
    authors="Defazio, Aaron and Mishchenko, Konstantin",
    title="Learning-Rate-Free Learning by D-Adaptation",
    kind="inproceedings",
    where=ICML,
    year=2023,
    url="https://arxiv.org/abs/2301.07733",
)
DOG = Paper(
    key="ivgi2023dog",
    authors="Ivgi, Maor and Hinder, Oliver and Carmon, Yair",
    title="DoG is SGD's Best Friend: A Parameter-Free Dynamic Step Size Schedule",
    kind="inproceedings",
    where=ICML,
    year=2023,
    url="https://arxiv.org/abs/2302.12022",
)
DOWG = Paper(
    key="khaled2023dowg",
    authors="Khaled, Ahmed and Mishchenko, Konstantin and Jin, Chi",
    title="DoWG Unleashed: An Efficient Universal Parameter-Free Gradient Descent Method",
    kind="inproceedings",
    where=NEURIPS,
    year=2023,
    url="https://arxiv.org/abs/2305.16284",
)
PRODIGY = Paper(
    key="mishchenko2024prodigy",
    authors="Mishchenko, Konstantin and Defazio, Aaron",
    title="Prodigy: An Expeditiously Adaptive Parameter-Free Learner",
    kind="inproceedings",
    where=ICML,
    year=2024,
    url="https://arxiv.org/abs/2306.06101",
)
MOMO = Paper(
    key="schaipp2024momo",
    authors="Schaipp, Fabian and Ohana, Ruben and Eickenberg, Michael and "
    "Defazio, Aaron and Gower, Robert M.",
    title="MoMo: Momentum Models for Adaptive Learning Rates",
    kind="inproceedings",
    where=ICML,
    year=2024,
    url="https://arxiv.org/abs/2305.07583",
)
SCHEDULE_FREE = Paper(
    key="defazio2024road",
    authors="Defazio, Aaron and Yang, Xingyu Alice and Mehta, Harsh and "
    "Mishchenko, Konstantin and Khaled, Ahmed and Cutkosky, Ashok",
    title="The Road Less Scheduled",
    kind="inproceedings",
    where=NEURIPS,
    year=2024,
    url="https://arxiv.org/abs/2405.15682",
)

PAPERS = {
    "sgd": MOMENTUM,
    "adagrad": ADAGRAD,
    "rmsprop": RMSPROP,
    "adadelta": ADADELTA,
    "adam": ADAM,
    "adamw": ADAMW,
    "nadam": NADAM,
    "nadamw": NADAM,
    "adamax": ADAM,
    "amsgrad": AMSGRAD,
    "lion": LION,
    "adabelief": ADABELIEF,
    "stable_adamw": STABLE_ADAMW,
    "spam": SPAM,
    "stable_spam": STABLE_SPAM,
    "cocob": COCOB,
    "dadapt_adagrad": D_ADAPTATION,
    "dadapt_adamw": D_ADAPTATION,
    "dadapt_sgd": D_ADAPTATION,
    "dog": DOG,
    "dowg": DOWG,
    "momo": MOMO,
    "momo_adam": MOMO,
    "prodigy": PRODIGY,
    "schedule_free_adamw": SCHEDULE_FREE,
    "schedule_free_radam": SCHEDULE_FREE,
    "schedule_free_sgd": SCHEDULE_FREE,
}
