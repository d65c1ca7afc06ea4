"""The words of EDA on medical texts: what may stand for what, and what no augmentation touches."""

from __future__ import annotations


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


SYNONYMS: tuple[tuple[str, ...], ...] = tuple(
    tuple(line.split())
    for line in """
    additionally furthermore moreover
    adequate sufficient
    adequately sufficiently
    advantageous beneficial
    aetiologic etiologic
    aetiology etiology
    allow enable
    allows enables
    almost nearly
    alterations changes
    altered changed
    although though
    among amongst
    anaemia anemia
    anaesthesia anesthesia
    analysed analyzed
    anatomic anatomical
    approximately roughly
    ascertained determined
    assess evaluate
    assessed evaluated
    assessing evaluating
    assessment evaluation
    assessments evaluations
    began started
    begin start
    behavior behaviour
    benign nonmalignant
    biologic biological
    breathlessness dyspnea dyspnoea
    center centre
    centers centres
    cephalalgia headache
    characterised characterized
    characteristics features
    chiefly mainly primarily
    chickenpox varicella
    common frequent
    commonly frequently
    completely entirely
    concerning regarding
    concomitant concurrent
    concurrently simultaneously
    conducted performed
    confirm verify
    confirmed verified
    considerable substantial
    considerably markedly substantially
    currently presently
    cutaneous dermal
    cytologic cytological
    demonstrate show
    demonstrated showed
    demonstrates shows
    despite notwithstanding
    diarrhea diarrhoea
    doctors physicians
    edema oedema
    electrophysiologic electrophysiological
    elevated raised
    emesis vomiting
    epidemiologic epidemiological
    epistaxis nosebleed
    esophageal oesophageal
    especially particularly
    estrogen oestrogen
    examine investigate
    examined investigated
    examining investigating
    fainting syncope
    fatal lethal
    fatigue tiredness
    fetal foetal
    fever pyrexia
    fiber fibre
    fibers fibres
    generally usually
    gynaecologic gynecologic
    haematologic haematological hematologic hematological
    haemoglobin hemoglobin
    haemorrhage hemorrhage
    hence therefore thus
    histologic histological
    hospitalisation hospitalization
    hospitalised hospitalized
    however nevertheless nonetheless
    hypercholesterolaemia hypercholesterolemia
    hyperglycaemia hyperglycemia
    hypoglycaemia hypoglycemia
    icterus jaundice
    illness sickness
    immunologic immunological
    inadequate insufficient
    indicate suggest
    indicates suggests
    indicating suggesting
    infrequently rarely seldom
    ischaemia ischemia
    ischaemic ischemic
    itching pruritus
    leukaemia leukemia
    main principal
    many numerous
    morphologic morphological
    needed required
    needs requires
    neonate newborn
    neonates newborns
    neurologic neurological
    noted observed
    occasionally sometimes
    ocular ophthalmic
    oncologic oncological
    orthopaedic orthopedic
    paediatric pediatric
    pathologic pathological
    perhaps possibly
    pharmacologic pharmacological
    physiologic physiological
    postoperative postsurgical
    preoperative presurgical
    quickly rapidly
    radiologic radiological
    rare uncommon
    serologic serological
    subsequently thereafter
    symmetric symmetrical
    tumor tumour
    tumors tumours
    urologic urological
    """.strip().splitlines()
)
"""Groups of words that stand for one another in a biomedical abstract; each word in one group, in one form."""

PROTECTED: frozenset[str] = frozenset().union(
    # Who is treated, and how.
    _words(
        """
        patient subject participant case control volunteer donor recipient cohort population group arm
        placebo man men woman women male female child children infant adult age aged treatment treated
        therapy therapeutic drug medication medicine dose dosage dosing administered administration
        infusion injection intervention surgery surgical operation procedure transplantation transplant
        chemotherapy radiotherapy
        """
    ),
    # What was found.
    _words(
        """
        clinical clinically disease disorder syndrome condition diagnosis diagnoses diagnosed diagnostic
        symptom sign pain infection cancer carcinoma malignant lesion failure injury toxicity
        complication relapse remission recurrence survival mortality morbidity death risk outcome
        response prognosis prognostic adverse acute chronic severe mild moderate primary secondary
        stage grade blood pressure heart liver kidney brain lung cell gene protein
        """
    ),
    # How it was found out.
    _words(
        """
        study trial randomized randomised double-blind placebo-controlled prospective retrospective
        significant significantly significance test positive negative sensitivity specificity baseline
        follow-up mean median ratio interval rate confidence deviation percent
        """
    ),
    # Vital signs, laboratory values, routes and times of administration.
    _words(
        """
        bp hr rr temp temperature pulse spo bmi ecg ekg eeg mri ct hba hdl ldl wbc rbc po iv im sc bid
        tid qid prn daily twice once weekly monthly oral orally intravenous intravenously subcutaneous
        """
    ),
    # What turns a statement round, or compares.
    _words(
        """
        no not nor none neither never without cannot nothing absent absence lack lacking fail failed
        failing except if unless than less more fewer greater least most higher lower highest lowest
        above below under over increase increased increases increasing decrease decreased decreases
        decreasing reduce reduced reduces reduction versus vs before after between within until during
        """
    ),
    # Numbers in words.
    _words(
        """
        zero one two three four five six seven eight nine ten eleven twelve twenty thirty forty fifty
        sixty seventy eighty ninety hundred thousand million half third quarter first second
        """
    ),
)
"""Words that are never replaced or deleted, in any case; with an s at their end too."""

UNITS: frozenset[str] = _words(
    """
    mg ml dl kg mcg ug µg μg ng pg fg cm mm nm µm μm km mmhg cmh torr kpa pa mmol µmol μmol umol nmol pmol
    mol meq iu ui mu ku bpm hz khz mhz kda da kcal cal kj cgy gy mgy sv msv mci ci bq rpm sec msec ms min hr
    day week month year hour minute yr mo wk milligram gram kilogram microgram milliliter liter litre
    millimeter centimeter meter degree celsius fahrenheit unit molar volt watt ppm ppb
    """
)
"""Units of measurement, protected likewise."""
